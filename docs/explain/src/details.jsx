// What one number of each kind of layer came from, and where its gradient goes.
import { useState } from "preact/hooks";
import { Conv } from "./conv.jsx";
import { V, inner, print } from "./format.jsx";
import { BigMap } from "./maps.jsx";

export function Detail(props) {
  const Kind = KINDS[props.node.operation] ?? Elementwise;
  return <Kind {...props} />;
}

const flat = (shape, place) => place.reduce((at, p, axis) => at * shape[axis + 1] + p, 0);
const name = (place) => `[${place.join(", ")}]`;

function Lines({ title, id, children }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h3 id={`${id}-title`}>{title}</h3>
      {children}
    </section>
  );
}

function Image({ node, place }) {
  const { y, dy } = node.names;
  const at = flat(y.shape, place);
  return (
    <Lines id="forward" title={`The image as the network takes it, at ${name(place)}`}>
      <p class="formula numbers">x{name(place)} = <b><V a={y} i={at} /></b>{dy && <>;  ∂loss/∂x{name(place)} = <b><V a={dy} i={at} /></b></>}</p>
      <p class="note">The gradient says how the loss would move with this pixel: its absolute value is the saliency.</p>
    </Lines>
  );
}

function Relu({ node, place }) {
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
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: dx = dy where x > 0, else 0">
          <p class="formula numbers">dx{name(place)} = {passes ? "1" : "0"} · <V a={dy} i={at} bracket /> = <b><V a={dx} i={at} /></b></p>
        </Lines>
      )}
    </>
  );
}

function Elementwise({ node, place }) {
  const { names } = node;
  const at = flat(names.y.shape, place);
  const same = Object.entries(names).filter(([, a]) => a.size === names.y.size);
  return (
    <Lines id="forward" title={`${node.operation.replaceAll("_", " ")} at ${name(place)}`}>
      <table class="sum"><tbody>{same.map(([n, a]) => <tr key={n}><th scope="row">{n}{name(place)}</th><td><V a={a} i={at} /></td></tr>)}</tbody></table>
    </Lines>
  );
}

function Add({ node, place }) {
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
          <p class="note">This is the only place where gradients meet: what fed both ways gets the sum of what comes back.</p>
        </Lines>
      )}
    </>
  );
}

function Flatten({ node, place }) {
  const { x, y, dy } = node.names;
  const [, C, H, W] = x.shape;
  const from = C && H ? [Math.floor(place[0] / (H * W)), Math.floor(place[0] / W) % H, place[0] % W] : place;
  return (
    <Lines id="forward" title="Flatten: the same numbers in one row">
      <p class="formula numbers">y{name(place)} = x{name(from)} = <b><V a={y} i={place[0]} /></b></p>
      {dy && <p class="formula numbers">dx{name(from)} = dy{name(place)} = <b><V a={dy} i={place[0]} /></b></p>}
    </Lines>
  );
}

// The pixels of one pooling window: [{iy, ix, at}], padding left out.
function windowOf(node, [c, oy, ox]) {
  const [, , H, W] = node.names.x.shape;
  const s = node.settings;
  const range = (o, size, axis) => {
    if (s.output_size) {
      const count = s.output_size[axis];
      const from = Math.floor((o * size) / count);
      return Array.from({ length: Math.ceil(((o + 1) * size) / count) - from }, (_, i) => from + i);
    }
    const start = o * s.stride[axis] - s.padding[axis];
    return Array.from({ length: s.kernel_size[axis] }, (_, i) => start + i * (s.dilation?.[axis] ?? 1)).filter((p) => p >= 0 && p < size);
  };
  const rows = range(oy, H, 0), columns = range(ox, W, 1);
  return { rows, columns, cells: rows.map((iy) => columns.map((ix) => ({ iy, ix, at: (c * H + iy) * W + ix, flat: iy * W + ix }))) };
}

function WindowTable({ id, cells, draw }) {
  return (
    <table class="grid" id={id}>
      <tbody>{cells.map((row) => <tr>{row.map((t) => { const [content, kind] = draw(t); return <td class={kind} title={`[${t.iy}, ${t.ix}]`}>{content}</td>; })}</tr>)}</tbody>
    </table>
  );
}

function PoolMap({ node, place, found }) {
  const mark = { row: found.rows[0], column: found.columns[0], height: found.rows.at(-1) - found.rows[0] + 1, width: found.columns.at(-1) - found.columns[0] + 1, kind: "patch" };
  return <div class="small"><BigMap array={node.names.x} channel={place[0]} marks={[mark]} label={`input channel ${place[0]} with the window`} id="input-map" /></div>;
}

function MaxPool({ node, place }) {
  const { x, y, dy, dx, indices } = node.names;
  const out = flat(y.shape, place);
  const found = windowOf(node, place);
  const winner = indices.at(out);
  const W = x.shape[3];
  const where = `[${place[0]}, ${Math.floor(winner / W)}, ${winner % W}]`;
  const won = (t) => (t.flat === winner ? "winner" : "");
  const list = found.cells.flat();
  const target = place[0] * x.shape[2] * W + winner;
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} is the largest of its window`}>
        <p class="formula numbers">y{name(place)} = max({list.slice(0, 9).map((t, i) => <>{i ? ", " : ""}<V a={x} i={t.at} /></>)}{list.length > 9 && ", …"}) = <b><V a={y} i={out} /></b></p>
        <div class="sides"><PoolMap node={node} place={place} found={found} /><div><WindowTable id="window" cells={found.cells} draw={(t) => [<V a={x} i={t.at} />, won(t)]} /><p id="verdict">x{where} won.</p></div></div>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: the winner takes the whole gradient">
          <p class="formula numbers">dx{where} += dy{name(place)} = <b><V a={dy} i={out} /></b>; with all windows that it won it is <V a={dx} i={target} /></p>
          <WindowTable id="window-dx" cells={found.cells} draw={(t) => [<>{won(t) ? print(dy.at(out)) : "0"}<small>dx <V a={dx} i={t.at} /></small></>, won(t)]} />
        </Lines>
      )}
    </>
  );
}

function AvgPool({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const out = flat(y.shape, place);
  const found = windowOf(node, place);
  const list = found.cells.flat();
  const s = node.settings;
  const span = (axis) => Math.min(place[axis + 1] * s.stride[axis] - s.padding[axis] + s.kernel_size[axis], x.shape[axis + 2] + s.padding[axis]) - (place[axis + 1] * s.stride[axis] - s.padding[axis]);
  const divisor = s.divisor_override ?? (s.kernel_size && s.count_include_pad ? span(0) * span(1) : list.length);
  const sum = list.reduce((total, t) => total + x.at(t.at), 0);
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} is the mean of its window`}>
        <p class="formula numbers">y{name(place)} = ({list.slice(0, 4).map((t, i) => <>{i ? " + " : ""}<V a={x} i={t.at} bracket /></>)}{list.length > 4 && " + …"}) / {divisor} = {inner(sum)} / {divisor} = <b><V a={y} i={out} /></b></p>
        <div class="sides"><PoolMap node={node} place={place} found={found} /><div class="scroll"><WindowTable id="window" cells={found.cells} draw={(t) => [<V a={x} i={t.at} />, ""]} /></div></div>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: each pixel of the window gets an equal share">
          <p class="formula numbers">dx += dy / {divisor} = <V a={dy} i={out} bracket /> / {divisor} = {print(dy.at(out) / divisor)}; at [{place[0]}, {list[0].iy}, {list[0].ix}] dx is <b><V a={dx} i={list[0].at} /></b> in all</p>
        </Lines>
      )}
    </>
  );
}

function BatchNorm({ node, place }) {
  const { x, y, dy, dx, weight, bias, mean, var: variance, own_mean, own_var, sum_dy, sum_dy_x_hat, dweight, dbias } = node.names;
  const at = flat(y.shape, place);
  const c = place[0];
  const { eps, training } = node.settings;
  const m = x.size / x.shape[1];
  const inv = 1 / Math.sqrt(variance.at(c) + eps);
  const hat = (x.at(at) - mean.at(c)) * inv;
  const w = weight ? weight.at(c) : 1;
  const g = dy?.at(at);
  const own = 1 / Math.sqrt(own_var.at(c) + eps);
  const ownHat = (x.at(at) - own_mean.at(c)) * own;
  const terms = (i, h) => [w * i * g, (-w * i * sum_dy.at(c)) / m, (-w * i * h * sum_dy_x_hat.at(c)) / m];
  const three = terms(own, ownHat);
  const Terms = ({ values }) => (
    <table class="sum" id="terms">
      <tbody>
        <tr><th scope="row">1. directly: weight/σ · dy</th><td>{print(values[0])}</td></tr>
        <tr><th scope="row">2. through the mean: −weight/σ · Σ dy / m</th><td>{print(values[1])}</td></tr>
        <tr><th scope="row">3. through the variance: −weight/σ · x̂ · Σ(dy · x̂) / m</th><td>{print(values[2])}</td></tr>
        <tr><th scope="row">sum</th><td>{print(values[0] + values[1] + values[2])}</td></tr>
      </tbody>
    </table>
  );
  const statistics = training ? "of this image" : "running, from training";
  return (
    <>
      <Lines id="forward" title={`Forward: normalised with the statistics of channel ${c}`}>
        <p class="formula">y = (x − mean) / √(var + ε) · weight + bias</p>
        <p class="formula numbers">
          y{name(place)} = (<V a={x} i={at} /> − <V a={mean} i={c} bracket />) / √(<V a={variance} i={c} /> + {print(eps)}) · {weight ? <V a={weight} i={c} bracket /> : "1"} + {bias ? <V a={bias} i={c} bracket /> : "0"} = <b><V a={y} i={at} /></b>
        </p>
        <table class="sum"><tbody>
          <tr><th scope="row">mean ({statistics})</th><td><V a={mean} i={c} /></td></tr>
          <tr><th scope="row">variance ({statistics})</th><td><V a={variance} i={c} /></td></tr>
          {!training && <><tr><th scope="row">mean of this image's {m} values</th><td><V a={own_mean} i={c} /></td></tr><tr><th scope="row">variance of this image's {m} values</th><td><V a={own_var} i={c} /></td></tr></>}
          <tr><th scope="row">x̂ = (x − mean) / √(var + ε)</th><td>{print(hat)}</td></tr>
        </tbody></table>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: three terms">
          <p class="formula">dx = weight/σ · (dy − Σ dy / m − x̂ · Σ(dy · x̂) / m), σ = √(var + ε), m = {m} values</p>
          {training ? <Terms values={three} /> : <p class="formula numbers">In evaluation mean and variance are constants: terms 2 and 3 are 0, dx{name(place)} = {inner(w)} / √({print(variance.at(c))} + {print(eps)}) · <V a={dy} i={at} bracket /></p>}
          <p class="formula numbers">dx{name(place)} = <b><V a={dx} i={at} /></b> from the engine{dweight && <>; dweight[{c}] = Σ dy · x̂ = <V a={dweight} i={c} /></>}{dbias && <>; dbias[{c}] = Σ dy = <V a={dbias} i={c} /></>}</p>
          {!training && <><h4>In training, with this image's own statistics and the same dy, the three terms would be</h4><Terms values={three} /></>}
        </Lines>
      )}
    </>
  );
}

function Linear({ node, place }) {
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

function CrossEntropy({ node, page, place, choose }) {
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

const KINDS = {
  input: Image, conv2d: Conv, relu: Relu, add: Add, flatten: Flatten, max_pool2d: MaxPool, avg_pool2d: AvgPool, adaptive_avg_pool2d: AvgPool,
  batch_norm: BatchNorm, linear: Linear, cross_entropy: CrossEntropy,
};
