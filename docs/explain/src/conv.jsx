// One output pixel of a convolution: patch, column, filter row, products, sum; then the way back.
import { useState } from "preact/hooks";
import { V, inner, print } from "./format.jsx";
import { BigMap } from "./maps.jsx";

// Every tap (c, i, j) of the filter at this place: k is its row in the column that im2col makes.
function taps(node, [f, oy, ox]) {
  const { x, weight } = node.names;
  const [F, C, kh, kw] = weight.shape;
  const [, , H, W] = x.shape;
  const { stride, padding, dilation, groups } = node.settings;
  const first = Math.floor(f / (F / groups)) * C;
  const found = [];
  for (let c = 0, k = 0; c < C; c++) {
    for (let i = 0; i < kh; i++) {
      for (let j = 0; j < kw; j++, k++) {
        const iy = oy * stride[0] - padding[0] + i * dilation[0];
        const ix = ox * stride[1] - padding[2] + j * dilation[1];
        const inside = iy >= 0 && iy < H && ix >= 0 && ix < W;
        const at = ((first + c) * H + iy) * W + ix;
        found.push({ k, c: first + c, i, j, iy, ix, inside, at, w: f * C * kh * kw + k, value: inside ? x.at(at) : 0, weight: weight.at(f * C * kh * kw + k) });
      }
    }
  }
  return found;
}

export function Conv({ node, place }) {
  const { x, y, dy, weight, bias, dweight, dbias, dx } = node.names;
  const [f, oy, ox] = place;
  const [, C, kh, kw] = weight.shape;
  const [oh, ow] = y.shape.slice(2);
  const out = (f * oh + oy) * ow + ox;
  const all = taps(node, place);
  const [chosen, setChosen] = useState(null);
  const [whole, setWhole] = useState(false);
  if (all.some((t) => t.value === undefined || t.weight === undefined)) return <p class="note">The numbers of this place are not on the page.</p>;
  const sums = new Map();
  for (const t of all) sums.set(t.c, (sums.get(t.c) ?? 0) + t.value * t.weight);
  const channels = [...sums.keys()];
  const strongest = channels.reduce((a, b) => (Math.abs(sums.get(b)) > Math.abs(sums.get(a)) ? b : a));
  const channel = sums.has(chosen) ? chosen : strongest;
  const mine = all.filter((t) => t.c === channel);
  const products = all.reduce((sum, t) => sum + t.value * t.weight, 0);
  const b = bias ? bias.at(f) : 0;
  const g = dy?.at(out);
  const terms = [...mine].sort((a, c) => Math.abs(c.value * c.weight) - Math.abs(a.value * a.weight)).slice(0, 3);
  const cell = (t, what, extra) => <td key={t.k} class={t.inside ? "" : "padding"} title={`c ${t.c}, i ${t.i}, j ${t.j} → x[${t.c}, ${t.iy}, ${t.ix}]${t.inside ? "" : ": padding"}${extra ?? ""}`}>{what}</td>;
  const grid = (id, title, draw) => (
    <figure>
      <figcaption>{title}</figcaption>
      <table class="grid" id={id}>
        <tbody>{Array.from({ length: kh }, (_, i) => <tr key={i}>{mine.slice(i * kw, (i + 1) * kw).map(draw)}</tr>)}</tbody>
      </table>
    </figure>
  );
  const { stride, padding, dilation } = node.settings;
  const index = (p, i, axis) => {
    const by = (letter, n) => (n === 1 ? letter : `${n}${letter}`);
    return `${by(p, stride[axis])} + ${by(i, dilation[axis])}${padding[2 * axis] ? ` − ${padding[2 * axis]}` : ""}`;
  };
  const inside = mine.filter((t) => t.inside);
  const mark = inside.length ? [{
    row: inside[0].iy, column: inside[0].ix, height: inside.at(-1).iy - inside[0].iy + 1, width: inside.at(-1).ix - inside[0].ix + 1, kind: "patch",
  }] : [];
  return (
    <>
      <section id="forward" aria-labelledby="forward-title">
        <h3 id="forward-title">Forward: how y[{f}, {oy}, {ox}] came to be</h3>
        <p class="formula">y[f, p, q] = {bias ? "bias[f] + " : ""}Σ<sub>c,i,j</sub> weight[f, c, i, j] · x[c, {index("p", "i", 0)}, {index("q", "j", 1)}]</p>
        <p class="formula numbers">
          y[{f}, {oy}, {ox}] = {bias && <V a={bias} i={f} />}
          {terms.map((t, n) => <>{bias || n ? " + " : ""}{t.inside ? <V a={weight} i={t.w} bracket /> : inner(t.weight)} · {t.inside ? <V a={x} i={t.at} bracket /> : "0"}</>)}
          {all.length > terms.length && <> + … ({all.length - terms.length} more)</>} = <b id="y-value"><V a={y} i={out} /></b>
        </p>
        <div class="row">
          {channels.length > 1 && (
            <label>input channel <input type="number" id="tap-channel" min={channels[0]} max={channels.at(-1)} value={channel} onInput={(e) => setChosen(Number(e.currentTarget.value))} /></label>
          )}
          <span>im2col makes of the {channels.length > 1 ? `patches of its ${channels.length} channels` : "patch"} the column p = {oy * ow + ox} (of {oh * ow}), {all.length} values long; the filter is row f = {f} of the weight matrix.</span>
        </div>
        <div class="sides">
          <div class="small"><BigMap array={x} channel={channel} marks={mark} label={`input channel ${channel} with the patch`} id="input-map" /></div>
          <div class="grids">
            {grid("patch", `patch of x, channel ${channel}`, (t) => cell(t, t.inside ? <V a={x} i={t.at} /> : "0"))}
            <div class="after"><span class="sign">×</span>{grid("filter", "filter", (t) => cell(t, <V a={weight} i={t.w} />))}</div>
            <div class="after"><span class="sign">=</span>{grid("products", "products", (t) => cell(t, print(t.value * t.weight)))}</div>
          </div>
        </div>
        <table class="sum">
          <tbody>
            <tr><th scope="row">products of channel {channel}</th><td>{print(sums.get(channel))}</td></tr>
            {channels.length > 1 && <tr><th scope="row">products of all other channels ({channels.length - 1})</th><td>{print(products - sums.get(channel))}</td></tr>}
            {bias && <tr><th scope="row">bias[{f}]</th><td><V a={bias} i={f} /></td></tr>}
            <tr><th scope="row">sum, added up here in 64 bits</th><td id="sum-here">{print(products + b)}</td></tr>
            <tr><th scope="row">y[{f}, {oy}, {ox}], from the engine</th><td><V a={y} i={out} /></td></tr>
          </tbody>
        </table>
      </section>
      {g !== undefined && (
        <section id="backward" aria-labelledby="backward-title">
          <h3 id="backward-title">Backward: what dy[{f}, {oy}, {ox}] = <V a={dy} i={out} /> does</h3>
          <p class="formula">dweight[f, c, i, j] += dy[f, p, q] · x[c, …];  dx[c, …] += weight[f, c, i, j] · dy[f, p, q]{bias ? ";  dbias[f] += dy[f, p, q]" : ""}</p>
          {terms[0] && terms[0].inside && (
            <p class="formula numbers">
              dweight[{f}, {terms[0].c}, {terms[0].i}, {terms[0].j}] += <V a={dy} i={out} bracket /> · <V a={x} i={terms[0].at} bracket /> = {print(g * terms[0].value)}
              <br />dx[{terms[0].c}, {terms[0].iy}, {terms[0].ix}] += <V a={weight} i={terms[0].w} bracket /> · <V a={dy} i={out} bracket /> = {print(g * terms[0].weight)}
            </p>
          )}
          <h4>To the weights: dy · patch</h4>
          <div class="grids">
            {grid("adds-dweight", "adds to dweight", (t) => cell(t, print(g * t.value)))}
            <div class="after"><span class="sign">of</span>{dweight && grid("dweight", "dweight, all places", (t) => cell(t, <V a={dweight} i={t.w} />))}</div>
          </div>
          {dbias && <p>It adds {print(g)} to dbias[{f}], which is <V a={dbias} i={f} /> in all.</p>}
          <h4>To the image: col2im scatters weight · dy</h4>
          <div class="grids">
            {grid("adds-dx", "this pixel adds to dx", (t) => cell(t, t.inside ? <>{print(g * t.weight)}<small>→ [{t.iy}, {t.ix}]</small></> : <>–<small>padding</small></>))}
            <div class="after"><span class="sign">of</span>{dx && grid("dx", "dx there, from all filters and places", (t) => cell(t, t.inside ? <V a={dx} i={t.at} /> : "–"))}</div>
          </div>
        </section>
      )}
      <details id="column" onToggle={(e) => setWhole(e.currentTarget.open)}>
        <summary>The whole column: {all.length} rows</summary>
        {whole && (
          <div class="scroll" tabIndex="0">
            <table class="list">
              <thead><tr><th>k</th><th>c, i, j</th><th>column[k]</th><th>row[k]</th><th>product</th><th>dy · column[k]</th><th>row[k] · dy</th><th>goes to dx</th></tr></thead>
              <tbody>
                {all.map((t) => (
                  <tr key={t.k}>
                    <td>{t.k}</td><td>{t.c}, {t.i}, {t.j}</td><td>{t.inside ? <V a={x} i={t.at} /> : "0"}</td><td><V a={weight} i={t.w} /></td><td>{print(t.value * t.weight)}</td>
                    <td>{g === undefined ? "" : print(g * t.value)}</td><td>{g === undefined ? "" : print(g * t.weight)}</td><td>{t.inside ? `[${t.c}, ${t.iy}, ${t.ix}]` : "padding: nowhere"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </details>
    </>
  );
}
