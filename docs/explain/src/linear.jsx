// One unit of a linear layer: its row of weights times x, and where dy goes.
import { useState } from "preact/hooks";
import { V, print } from "./format.jsx";
import { Lines } from "./lines.jsx";

export function Linear({ node, place }) {
  const { x, y, weight, bias, dy, dx, dweight, dbias } = node.names;
  const [o] = place;
  const inputs = weight.shape[1];
  const all = Array.from({ length: inputs }, (_, i) => ({ i, w: o * inputs + i, x: x.at(i), weight: weight.at(o * inputs + i) }));
  const [count, setCount] = useState(12);
  if (all.some((t) => t.weight === undefined)) return <p class="note">The weights of this unit are not on the page.</p>;
  const sorted = [...all].sort((a, b) => Math.abs(b.x * b.weight) - Math.abs(a.x * a.weight));
  const sum = all.reduce((total, t) => total + t.x * t.weight, 0);
  const g = dy?.at(o);
  return (
    <>
      <Lines id="forward" title={`Forward: y[${o}] is row ${o} of the weights times x`}>
        <p class="formula">y[o] = bias[o] + Σ<sub>i</sub> weight[o, i] · x[i]</p>
        <p class="formula numbers">
          y[{o}] = {bias ? <V a={bias} i={o} /> : "0"}{sorted.slice(0, 3).map((t) => <> + <V a={weight} i={t.w} bracket /> · <V a={x} i={t.i} bracket /></>)}{inputs > 3 && <> + … ({inputs - 3} more)</>} = <b id="y-value"><V a={y} i={o} /></b>
        </p>
        <p>Sum of products, here in 64 bits: <span id="sum-here">{print(sum + (bias ? bias.at(o) : 0))}</span> with the bias.</p>
      </Lines>
      {dy && <Lines id="backward" title={`Backward: what dy[${o}] does`}>
        <p class="formula">dweight[o, i] = dy[o] · x[i];  dx[i] = Σ<sub>o</sub> weight[o, i] · dy[o]{bias ? ";  dbias[o] = dy[o]" : ""}</p>
        <p class="formula numbers">
          dweight[{o}, {sorted[0].i}] = <V a={dy} i={o} bracket /> · <V a={x} i={sorted[0].i} bracket /> = <b><V a={dweight} i={sorted[0].w} /></b>
          <br />dx[{sorted[0].i}] += <V a={weight} i={sorted[0].w} bracket /> · <V a={dy} i={o} bracket /> = {print(g * sorted[0].weight)}
          {dbias && <><br />dbias[{o}] = <V a={dbias} i={o} /></>}
        </p>
      </Lines>}
      <div class="scroll" tabIndex="0">
        <table class="list" id="inputs">
          <thead><tr><th>i</th><th>x[i]</th><th>weight[{o}, i]</th><th>product</th><th>dweight[{o}, i]</th><th>adds to dx[i]</th><th>dx[i], all units</th></tr></thead>
          <tbody>{sorted.slice(0, count).map((t) => (
            <tr key={t.i}><td>{t.i}</td><td><V a={x} i={t.i} /></td><td><V a={weight} i={t.w} /></td><td>{print(t.x * t.weight)}</td><td>{dweight && <V a={dweight} i={t.w} />}</td><td>{g === undefined ? "" : print(g * t.weight)}</td><td>{dx && <V a={dx} i={t.i} />}</td></tr>
          ))}</tbody>
        </table>
      </div>
      <p class="note">The {Math.min(count, inputs)} largest products of {inputs}. {count < inputs && <button onClick={() => setCount(inputs)}>show all</button>}</p>
    </>
  );
}
