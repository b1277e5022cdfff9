// Layers that move values: flatten, pad, concat, interpolate. Each gradient goes back to where its value came from.
import { V, print } from "./format.jsx";
import { Lines, flat, name } from "./lines.jsx";

export function Flatten({ node, place }) {
  const { x, y, dy } = node.names;
  const sizes = x.shape.slice(1);
  let rest = place[0];
  const from = sizes.map((_, axis) => {
    const after = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
    const index = Math.floor(rest / after);
    rest %= after;
    return index;
  });
  return (
    <Lines id="forward" title="Flatten: the same numbers in one row">
      <p class="formula numbers">y{name(place)} = x{name(from)} = <b><V a={y} i={place[0]} /></b></p>
      {dy && <p class="formula numbers">dx{name(from)} = dy{name(place)} = <b><V a={dy} i={place[0]} /></b></p>}
    </Lines>
  );
}

export function Pad({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const { amounts: [left, , top], mode, value } = node.settings;
  const [c, row, column] = place;
  const [, , H, W] = x.shape;
  const source = (p, before, size) => {
    const at = p - before;
    if (mode === "circular") return ((at % size) + size) % size;
    if (mode === "replicate") return Math.max(0, Math.min(size - 1, at));
    return mode === "reflect" ? size - 1 - Math.abs(size - 1 - Math.abs(at)) : at;
  };
  const [iy, ix] = [source(row, top, H), source(column, left, W)];
  const out = flat(y.shape, place);
  const border = row < top || row >= top + H || column < left || column >= left + W;
  if (iy < 0 || iy >= H || ix < 0 || ix >= W) {
    return (
      <>
        <Lines id="forward" title="Forward: a constant of the border">
          <p class="formula numbers">y{name(place)} = {print(value)} = <b><V a={y} i={out} /></b></p>
        </Lines>
        {dy && <Lines id="backward" title="Backward: nowhere"><p class="formula numbers">dy{name(place)} = <V a={dy} i={out} />: it depends on no pixel, so its gradient goes nowhere.</p></Lines>}
      </>
    );
  }
  const at = flat(x.shape, [c, iy, ix]);
  const copies = [];
  for (let r = 0; r < y.shape[2]; r++) {
    if (source(r, top, H) !== iy) continue;
    for (let q = 0; q < y.shape[3]; q++) if (source(q, left, W) === ix) copies.push([c, r, q]);
  }
  const all = copies.map((p) => [p, dy?.at(flat(y.shape, p))]);
  return (
    <>
      <Lines id="forward" title={`Forward: a copy of x${name([c, iy, ix])}`}>
        <p class="formula numbers">y{name(place)} = x{name([c, iy, ix])} = <V a={x} i={at} /> = <b><V a={y} i={out} /></b></p>
        <p id="verdict">{border ? `A pixel of the border (mode ${mode}).` : "A pixel of the image."} y has {copies.length === 1 ? "this one copy" : `${copies.length} copies`} of it.</p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: the gradients of all copies, added up">
          <p class="formula numbers">
            dx{name([c, iy, ix])} = {all.every(([, g]) => g !== undefined) ? all.map(([p], i) => <>{i ? " + " : ""}<V a={dy} i={flat(y.shape, p)} bracket /></>) : <><V a={dy} i={out} bracket /> + … ({copies.length - 1} more)</>} = <b><V a={dx} i={at} /></b>
          </p>
        </Lines>
      )}
    </>
  );
}

export function Concat({ node, place }) {
  const { names } = node;
  const axis = (node.settings.axis + names.y.shape.length) % names.y.shape.length;
  const parts = Object.keys(names).filter((n) => n.length === 1 && n !== "y").sort();
  let start = 0;
  let mine = parts[0];
  for (const part of parts) {
    mine = part;
    if (place[axis - 1] < start + names[part].shape[axis]) break;
    start += names[part].shape[axis];
  }
  const inside = place.map((p, k) => (k === axis - 1 ? p - start : p));
  const out = flat(names.y.shape, place), at = flat(names[mine].shape, inside);
  return (
    <>
      <Lines id="forward" title={`Forward: input ${mine} of ${parts.join(", ")}, one behind the other`}>
        <p class="formula numbers">y{name(place)} = {mine}{name(inside)} = <V a={names[mine]} i={at} /> = <b><V a={names.y} i={out} /></b></p>
        <p class="note">{parts.map((part) => `${part}: ${names[part].shape.slice(1).join(" × ")}`).join("; ")}, along axis {axis}.</p>
      </Lines>
      {names.dy && (
        <Lines id="backward" title="Backward: dy is cut where the inputs meet">
          <p class="formula numbers">d{mine}{name(inside)} = dy{name(place)} = <V a={names.dy} i={out} /> = <b><V a={names[`d${mine}`]} i={at} /></b></p>
        </Lines>
      )}
    </>
  );
}

export function Interpolate({ node, place }) {
  const { x, y, dy, dx, rows, columns, rows_low, rows_high, rows_share, columns_low, columns_high, columns_share } = node.names;
  const [c, row, column] = place;
  const out = flat(y.shape, place);
  // the pixels of x with their shares; those of share 0, at the border or where a pixel is hit, are left out
  const ends = (p, source, low, high, share) => {
    if (source) return [[source.at(p), 1]];
    return [[low.at(p), 1 - share.at(p)], [high.at(p), share.at(p)]].filter(([, part]) => part !== 0);
  };
  const found = [];
  for (const [iy, a] of ends(row, rows, rows_low, rows_high, rows_share)) {
    for (const [ix, b] of ends(column, columns, columns_low, columns_high, columns_share)) found.push({ iy, ix, share: a * b, at: flat(x.shape, [c, iy, ix]) });
  }
  const g = dy?.at(out);
  const nearest = node.settings.mode === "nearest";
  return (
    <>
      <Lines id="forward" title={nearest ? "Forward: the nearest pixel" : "Forward: a blend of the pixels around it"}>
        <p class="formula">{nearest ? "y[c, p, q] = x[c, rows[p], columns[q]]" : "y[c, p, q] = Σ shareₚ · share_q · x[c, …], two rows and two columns"}</p>
        <p class="formula numbers">
          y{name(place)} = {found.map((t, i) => <>{i ? " + " : ""}{nearest ? "" : `${print(t.share)} · `}<V a={x} i={t.at} bracket /></>)} = <b><V a={y} i={out} /></b>
        </p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: dy goes to the same pixels, by the same shares">
          <div class="scroll" tabIndex="0">
            <table class="list" id="sources">
              <thead><tr><th>pixel of x</th><th>value</th><th>share</th><th>share · dy</th><th>dx there, from all places</th></tr></thead>
              <tbody>{found.map((t) => <tr key={t.at}><th scope="row">{name([c, t.iy, t.ix])}</th><td><V a={x} i={t.at} /></td><td>{print(t.share)}</td><td>{print(t.share * g)}</td><td><V a={dx} i={t.at} /></td></tr>)}</tbody>
            </table>
          </div>
          <p class="formula numbers">dy{name(place)} = <V a={dy} i={out} /></p>
        </Lines>
      )}
    </>
  );
}
