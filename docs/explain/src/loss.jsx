// Softmax and cross-entropy.
import { V, inner, print } from "./format.jsx";
import { Lines, flat, name } from "./lines.jsx";

export function CrossEntropy({ node, page, place, choose }) {
  const { logits, y, dlogits } = node.names;
  const n = logits.size;
  const values = Array.from({ length: n }, (_, c) => logits.at(c));
  const peak = Math.max(...values);
  const total = values.reduce((sum, v) => sum + Math.exp(v - peak), 0);
  const p = page.probabilities;
  const t = page.target;
  let order = values.map((_, c) => c);
  if (n > 20) {
    order.sort((a, b) => p.at(b) - p.at(a));
    order = order.slice(0, 12);
    if (!order.includes(t)) order.push(t);
  }
  return (
    <>
      <Lines id="forward" title="Forward: softmax, then the negative logarithm of the target's probability">
        <p class="formula">p[c] = exp(z[c] − max z) / Σ<sub>k</sub> exp(z[k] − max z);  loss = −ln p[target]</p>
        <p class="formula numbers">
          p[{t}] = exp(<V a={logits} i={t} /> − {inner(peak)}) / {print(total)} = <V a={p} i={t} />;  loss = −ln <V a={p} i={t} /> = <b id="loss-value"><V a={y} i={0} /></b>
        </p>
      </Lines>
      <Lines id="backward" title="Backward: probabilities minus target">
        <p class="formula numbers">dz[{t}] = <V a={p} i={t} /> − 1 = <b><V a={dlogits} i={t} /></b></p>
        <div class="scroll" tabIndex="0">
          <table class="list" id="classes">
            <thead><tr><th>class</th><th>z</th><th>exp(z − max)</th><th>p</th><th>target q</th><th>dz = p − q</th></tr></thead>
            <tbody>{order.map((c) => (
              <tr key={c} class={c === t ? "target" : ""}>
                <th scope="row">{page.classes[c]}</th><td><V a={logits} i={c} /></td><td>{print(Math.exp(values[c] - peak))}</td><td><V a={p} i={c} /></td><td>{c === t ? 1 : 0}</td><td><V a={dlogits} i={c} /></td>
              </tr>
            ))}</tbody>
          </table>
        </div>
        {n > order.length && <p class="note">{order.length} of {n} classes, the most probable ones and the target.</p>}
      </Lines>
    </>
  );
}

// The values that one output was divided with: its line along the axis, [{at, i, x, y, dy}], and where the place is in it.
function lineOf(node, place) {
  const { x, y, dy } = node.names;
  const axis = (node.settings.axis + y.shape.length) % y.shape.length;
  const line = Array.from({ length: y.shape[axis] }, (_, i) => {
    const at = flat(y.shape, place.map((p, k) => (k === axis - 1 ? i : p)));
    return { i, at, x: x.at(at), y: y.at(at), dy: dy?.at(at) };
  });
  return { line, mine: place[axis - 1] };
}

const sum = (line, of) => line.reduce((total, t) => total + of(t), 0);

export function Softmax({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const { line, mine } = lineOf(node, place);
  const peak = Math.max(...line.map((t) => t.x));
  const at = flat(y.shape, place);
  const total = sum(line, (t) => Math.exp(t.x - peak));
  const mean = dy && sum(line, (t) => t.dy * t.y);
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} is the share of one of ${line.length} values`}>
        <p class="formula">y[i] = exp(x[i] − max x) / Σ<sub>j</sub> exp(x[j] − max x)</p>
        <p class="formula numbers">y{name(place)} = exp(<V a={x} i={at} /> − {inner(peak)}) / {print(total)} = <b><V a={y} i={at} /></b></p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: every output pulls at every input">
          <p class="formula">dx[j] = y[j] · (dy[j] − Σ<sub>i</sub> dy[i] · y[i])</p>
          <p class="formula numbers">dx{name(place)} = <V a={y} i={at} /> · (<V a={dy} i={at} bracket /> − {inner(mean)}) = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
      <LineTable names={node.names} line={line} mine={mine} more={["exp(x − max)", (t) => print(Math.exp(t.x - peak))]} />
    </>
  );
}

export function LogSoftmax({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const { line, mine } = lineOf(node, place);
  const peak = Math.max(...line.map((t) => t.x));
  const at = flat(y.shape, place);
  const log = peak + Math.log(sum(line, (t) => Math.exp(t.x - peak)));
  const total = dy && sum(line, (t) => t.dy);
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)}, the logarithm of a softmax over ${line.length} values`}>
        <p class="formula">y[i] = x[i] − log Σ<sub>j</sub> exp(x[j])</p>
        <p class="formula numbers">y{name(place)} = <V a={x} i={at} /> − {inner(log)} = <b><V a={y} i={at} /></b></p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: dy minus the probability times the sum of all dy">
          <p class="formula">dx[j] = dy[j] − exp(y[j]) · Σ<sub>i</sub> dy[i]</p>
          <p class="formula numbers">dx{name(place)} = <V a={dy} i={at} /> − {print(Math.exp(y.at(at)))} · {inner(total)} = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
      <LineTable names={node.names} line={line} mine={mine} more={["p = exp(y)", (t) => print(Math.exp(t.y))]} />
    </>
  );
}

function LineTable({ names, line, mine, more: [title, draw] }) {
  const { x, y, dy, dx } = names;
  const shown = line.length > 20 ? [...line].sort((a, b) => b.x - a.x).filter((t, k) => k < 12 || t.i === mine) : line;
  return (
    <>
      <div class="scroll" tabIndex="0">
        <table class="list" id="line">
          <thead><tr><th>i</th><th>x</th><th>{title}</th><th>y</th>{dy && <><th>dy</th><th>dx</th></>}</tr></thead>
          <tbody>{shown.map((t) => (
            <tr key={t.i} class={t.i === mine ? "target" : ""}>
              <th scope="row">{t.i}</th><td><V a={x} i={t.at} /></td><td>{draw(t)}</td><td><V a={y} i={t.at} /></td>{dy && <><td><V a={dy} i={t.at} /></td><td><V a={dx} i={t.at} /></td></>}
            </tr>
          ))}</tbody>
        </table>
      </div>
      {shown.length < line.length && <p class="note">The {shown.length} largest of {line.length} values.</p>}
    </>
  );
}
