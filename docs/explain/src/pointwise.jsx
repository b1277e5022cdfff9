// Layers that work value by value: one function and its derivative.
import { V, inner, print } from "./format.jsx";
import { functionOf } from "./functions.js";
import { Lines, flat, name } from "./lines.jsx";

export function Image({ node, place }) {
  const { y, dy } = node.names;
  const at = flat(y.shape, place);
  return (
    <Lines id="forward" title={`The image as the network takes it, at ${name(place)}`}>
      <p class="formula numbers">x{name(place)} = <b><V a={y} i={at} /></b>{dy && <>;  ∂loss/∂x{name(place)} = <b><V a={dy} i={at} /></b></>}</p>
      <p class="note">The gradient says how the loss would move with this pixel: its absolute value is the saliency.</p>
    </Lines>
  );
}

export function Relu(props) {
  const { node, place } = props;
  const { x, y, dy, dx } = node.names;
  const at = flat(y.shape, place);
  const v = x.at(at);
  const passes = v > 0 || Number.isNaN(v);
  let cut = 0;
  if (x.dense) for (const each of x.values) cut += each <= 0;
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} = max(x, 0)`}>
        <p class="formula numbers">y{name(place)} = max(<V a={x} i={at} />, 0) = <b><V a={y} i={at} /></b></p>
        <p id="verdict"><strong>{passes ? "Passed" : "Cut"}</strong>: x is {v > 0 ? "above" : "not above"} 0.{" "}
          {x.dense ? `${cut} of ${x.size} values of this layer are cut.` : `${(100 * node.y.zeros).toFixed(1)} % of this layer's outputs are 0.`}</p>
        <Graph of={functionOf("relu")} x={v} />
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: dx = dy where x > 0, else 0">
          <p class="formula numbers">dx{name(place)} = {passes ? "1" : "0"} · <V a={dy} i={at} bracket /> = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
    </>
  );
}

export function Activation({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const at = flat(y.shape, place);
  const of = functionOf(node.operation, node.settings);
  const here = of.at(x.at(at));
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} = g(x)`}>
        <p class="formula">g(x) = {of.formula}</p>
        <p class="formula numbers">y{name(place)} = g(<V a={x} i={at} />) = <b><V a={y} i={at} /></b></p>
        <Graph of={of} x={x.at(at)} />
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: dx = dy · g′(x), the slope of the tangent">
          <p class="formula">g′(x) = {of.slope}</p>
          <table class="sum"><tbody>
            {here.parts.map(([part, value]) => <tr key={part}><th scope="row">{part}, here</th><td>{print(value)}</td></tr>)}
            <tr><th scope="row">g′(x), here</th><td id="slope">{print(here.slope)}</td></tr>
          </tbody></table>
          <p class="formula numbers">dx{name(place)} = <V a={dy} i={at} bracket /> · {inner(here.slope)} = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
    </>
  );
}

// The function with its tangent at x.
function Graph({ of, x }) {
  if (!Number.isFinite(x)) return null;
  const reach = Math.max(3, 1.25 * Math.abs(x));
  const sample = Array.from({ length: 121 }, (_, i) => -reach + (i * reach) / 60);
  const values = sample.map((s) => of.at(s).y);
  const low = Math.min(...values, -0.2), high = Math.max(...values, 0.2);
  const px = (s) => 150 + (140 * s) / reach, py = (v) => 142 - (132 * (v - low)) / (high - low);
  const here = of.at(x);
  const tangent = [-reach, reach].map((s) => `${px(s)} ${py(here.y + here.slope * (s - x))}`);
  return (
    <svg class="function" viewBox="0 0 300 150" role="img" aria-label={`the function from ${print(-reach)} to ${print(reach)}; its tangent at ${print(x)} has the slope ${print(here.slope)}`}>
      <path class="base" d={`M10 ${py(0)}H290M${px(0)} 8V142`} />
      <path class="tangent" d={`M${tangent.join("L")}`} />
      <path d={`M${sample.map((s, i) => `${px(s)} ${py(values[i])}`).join("L")}`} />
      <circle cx={px(x)} cy={py(here.y)} r="5" />
    </svg>
  );
}

export function Dropout({ node, place }) {
  const { x, y, dy, dx, keep } = node.names;
  const at = flat(y.shape, place);
  const p = node.settings.p;
  if (!keep) {
    return (
      <>
        <Lines id="forward" title="Forward: in evaluation nothing is dropped">
          <p class="formula numbers">y{name(place)} = x{name(place)} = <b><V a={y} i={at} /></b></p>
          <p class="note">In training each value would be 0 with probability {p}, and the others would be divided by 1 − {p}, so that the mean stays.</p>
        </Lines>
        {dy && <Lines id="backward" title="Backward: dx = dy"><p class="formula numbers">dx{name(place)} = <b><V a={dx} i={at} /></b></p></Lines>}
      </>
    );
  }
  const stays = keep.at(at) === 1;
  let dropped = 0;
  if (keep.dense) for (const each of keep.values) dropped += each === 0;
  const scale = p < 1 ? ` / (1 − ${p})` : "";
  return (
    <>
      <Lines id="forward" title={`Forward: y = x · mask / (1 − p), p = ${p}`}>
        <p class="formula numbers">y{name(place)} = <V a={x} i={at} bracket /> · {stays ? "1" : "0"}{scale} = <b><V a={y} i={at} /></b></p>
        <p id="verdict"><strong>{stays ? "Kept" : "Dropped"}</strong> by the mask, which was drawn at random.{keep.dense && ` ${dropped} of ${keep.size} values of this layer were dropped.`}</p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: the same mask, dx = dy · mask / (1 − p)">
          <p class="formula numbers">dx{name(place)} = <V a={dy} i={at} bracket /> · {stays ? "1" : "0"}{scale} = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
    </>
  );
}

export function Add({ node, place }) {
  const { a, b, y, dy, da, db } = node.names;
  const at = flat(y.shape, place);
  return (
    <>
      <Lines id="forward" title="Forward: y = a + b, the branch and the shortcut">
        <p class="formula numbers">y{name(place)} = <V a={a} i={at} bracket /> + <V a={b} i={at} bracket /> = <b><V a={y} i={at} /></b></p>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: the same gradient goes both ways">
          <p class="formula numbers">da = dy = <V a={da ?? dy} i={at} />,  db = dy = <V a={db ?? dy} i={at} /></p>
          <p class="note">This is where gradients meet: what fed both ways gets the sum of what comes back.</p>
        </Lines>
      )}
    </>
  );
}

// Any other operation: its arrays of the size of y, side by side.
export function Elementwise({ node, place }) {
  const { names } = node;
  const at = flat(names.y.shape, place);
  const same = Object.entries(names).filter(([, a]) => a.size === names.y.size);
  return (
    <Lines id="forward" title={`${node.operation.replaceAll("_", " ")} at ${name(place)}`}>
      <table class="sum"><tbody>{same.map(([n, a]) => <tr key={n}><th scope="row">{n}{name(place)}</th><td><V a={a} i={at} /></td></tr>)}</tbody></table>
    </Lines>
  );
}
