// Numbers as they are printed everywhere: five significant digits.

export function print(v) {
  if (v === undefined || v === null) return "not kept";
  if (typeof v === "string") return v;
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "−∞";
  if (v === 0) return "0";
  const size = Math.abs(v);
  const text = size >= 1e5 || size < 1e-3 ? v.toExponential(4) : v.toPrecision(5);
  return text.replace("-", "−").replace("e-", "e−").replace("e+", "e");
}

// In a formula a negative number stands in brackets.
export const inner = (v) => (v < 0 ? `(${print(v)})` : print(v));

export const percent = (v) => (v === undefined ? "not kept" : `${(100 * v).toFixed(2)} %`);

// A number of the engine: `data-array` and `data-index` say which, and a test compares.
export function V({ a, i, bracket }) {
  const v = a?.at(i);
  if (v === undefined) return <span class="missing">not kept</span>;
  const number = <span class="v" data-array={a.key} data-index={i}>{print(v)}</span>;
  return bracket && v < 0 ? <>({number})</> : number;
}

export function Statistics({ of, title }) {
  if (!of) return null;
  return (
    <span class="stats">
      {title}: mean {print(of.mean)}, std {print(of.std)}, largest |·| {print(of.largest)}, {(100 * of.zeros).toFixed(1)} % zeros
      {of.notFinite > 0 && <strong class="bad">, {of.notFinite} not finite</strong>}
    </span>
  );
}
