// One output pixel of a transposed convolution: the pixels of x whose stamps reach it; then the way back.
import { useState } from "preact/hooks";
import { V, print } from "./format.jsx";
import { Lines, flat, name } from "./lines.jsx";
import { BigMap } from "./maps.jsx";

// Every tap (c, i, j) at this place; `inside` where a pixel (iy, ix) of x meets it: iy · stride + i · dilation − padding = oy.
function taps(node, [f, oy, ox]) {
  const { x, weight } = node.names;
  const [C, F, kh, kw] = weight.shape;
  const { stride, padding, dilation, groups } = node.settings;
  const [, , H, W] = x.shape;
  const inputs = C / groups;
  const first = Math.floor(f / F) * inputs;
  const source = (o, i, axis, size) => {
    const reached = o + padding[axis] - i * dilation[axis];
    const at = reached / stride[axis];
    return Number.isInteger(at) && at >= 0 && at < size ? at : null;
  };
  const found = [];
  for (let c = first; c < first + inputs; c++) {
    for (let i = 0; i < kh; i++) {
      for (let j = 0; j < kw; j++) {
        const iy = source(oy, i, 0, H), ix = source(ox, j, 1, W);
        const inside = iy !== null && ix !== null;
        const w = ((c * F + (f % F)) * kh + i) * kw + j;
        const at = inside ? (c * H + iy) * W + ix : -1;
        found.push({ c, i, j, iy, ix, inside, w, at, weight: weight.at(w), value: inside ? x.at(at) : 0 });
      }
    }
  }
  return found;
}

export function ConvTranspose({ node, place }) {
  const { x, y, dy, weight, bias, dweight, dbias, dx } = node.names;
  const [f] = place;
  const [, , , kw] = weight.shape;
  const all = taps(node, place);
  const [chosen, setChosen] = useState(null);
  if (all.some((t) => t.value === undefined || t.weight === undefined)) return <p class="note">The numbers of this place are not on the page.</p>;
  const sums = new Map();
  for (const t of all) sums.set(t.c, (sums.get(t.c) ?? 0) + t.value * t.weight);
  const channels = [...sums.keys()];
  const strongest = channels.reduce((a, b) => (Math.abs(sums.get(b)) > Math.abs(sums.get(a)) ? b : a));
  const channel = sums.has(chosen) ? chosen : strongest;
  const mine = all.filter((t) => t.c === channel);
  const meets = mine.filter((t) => t.inside);
  const total = [...sums.values()].reduce((a, b) => a + b, 0);
  const out = flat(y.shape, place);
  const g = dy?.at(out);
  const b = bias ? bias.at(f) : 0;
  const marks = meets.map((t) => ({ row: t.iy, column: t.ix, height: 1, width: 1, kind: "patch" }));
  const cell = (t, content) => <td key={t.w} class={t.inside ? "" : "padding"} title={t.inside ? `tap ${t.i}, ${t.j}: x[${t.c}, ${t.iy}, ${t.ix}]` : `tap ${t.i}, ${t.j}: no pixel of x`}>{content}</td>;
  const grid = (id, title, draw) => (
    <figure>
      <figcaption>{title}</figcaption>
      <table class="grid" id={id}><tbody>{Array.from({ length: mine.length / kw }, (_, i) => <tr key={i}>{mine.slice(i * kw, (i + 1) * kw).map((t) => cell(t, draw(t)))}</tr>)}</tbody></table>
    </figure>
  );
  return (
    <>
      <Lines id="forward" title={`Forward: how y${name(place)} came to be`}>
        <p class="formula">y[f, p·stride + i·dilation − padding, …] += x[c, p, q] · weight[c, f, i, j]{bias && ";  then + bias[f]"}</p>
        <p>Each pixel of x stamps the filter, multiplied with its value, into y. The stamps of {meets.length} of its pixels (in each channel) reach this place, each with another tap.</p>
        <div class="row">
          {channels.length > 1 && <label>input channel <input type="number" id="tap-channel" min={channels[0]} max={channels.at(-1)} value={channel} onInput={(e) => setChosen(Number(e.currentTarget.value))} /></label>}
        </div>
        <div class="sides">
          <div class="small"><BigMap array={x} channel={channel} marks={marks} label={`input channel ${channel} with the pixels that reach this place`} id="input-map" /></div>
          <div class="grids">
            {grid("patch", "x that meets each tap", (t) => (t.inside ? <><V a={x} i={t.at} /><small>[{t.iy}, {t.ix}]</small></> : "–"))}
            <div class="after"><span class="sign">×</span>{grid("filter", "filter", (t) => <V a={weight} i={t.w} />)}</div>
            <div class="after"><span class="sign">=</span>{grid("products", "products", (t) => (t.inside ? print(t.value * t.weight) : "–"))}</div>
          </div>
        </div>
        <table class="sum">
          <tbody>
            <tr><th scope="row">products of channel {channel}</th><td>{print(sums.get(channel))}</td></tr>
            {channels.length > 1 && <tr><th scope="row">products of all other channels ({channels.length - 1})</th><td>{print(total - sums.get(channel))}</td></tr>}
            {bias && <tr><th scope="row">bias[{f}]</th><td><V a={bias} i={f} /></td></tr>}
            <tr><th scope="row">sum, added up here in 64 bits</th><td id="sum-here">{print(total + b)}</td></tr>
            <tr><th scope="row">y{name(place)}, from the engine</th><td id="y-value"><V a={y} i={out} /></td></tr>
          </tbody>
        </table>
      </Lines>
      {dy && (
        <Lines id="backward" title={<>Backward: what dy{name(place)} = <V a={dy} i={out} /> does</>}>
          <p class="formula">dx[c, p, q] += weight[c, f, i, j] · dy[f, …];  dweight[c, f, i, j] += x[c, p, q] · dy[f, …]{bias && ";  dbias[f] += dy[f, …]"}</p>
          <p class="note">The forward is the backward of a convolution, so this backward is that convolution's forward: dx gathers.</p>
          <div class="grids">
            {grid("adds-dweight", "adds to dweight", (t) => (t.inside ? print(g * t.value) : "–"))}
            <div class="after"><span class="sign">of</span>{dweight && grid("dweight", "dweight, all places", (t) => <V a={dweight} i={t.w} />)}</div>
          </div>
          <div class="grids">
            {grid("adds-dx", "adds to dx", (t) => (t.inside ? <>{print(g * t.weight)}<small>→ [{t.iy}, {t.ix}]</small></> : "–"))}
            <div class="after"><span class="sign">of</span>{dx && grid("dx", "dx there, from all filters and places", (t) => (t.inside ? <V a={dx} i={t.at} /> : "–"))}</div>
          </div>
          {dbias && <p>It adds {print(g)} to dbias[{f}], which is <V a={dbias} i={f} /> in all.</p>}
        </Lines>
      )}
    </>
  );
}
