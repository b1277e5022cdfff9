// One step of SGD: what the engine computed for a set of step sizes.
import { useState } from "preact/hooks";
import { V, print, percent } from "./format.jsx";

export function Step({ page }) {
  const { sizes, losses, probabilities } = page.step;
  const [k, setK] = useState(Math.max(0, [...sizes.values].findIndex((s) => s >= 0.0099)));
  const classes = probabilities.shape[1];
  const before = (c) => probabilities.at(c);
  const after = (c) => probabilities.at(k * classes + c);
  const order = Array.from({ length: classes }, (_, c) => c);
  if (classes > 12) {
    order.sort((a, b) => Math.max(before(b), after(b)) - Math.max(before(a), after(a)));
    order.length = 8;
    if (!order.includes(page.target)) order.push(page.target);
  }
  const text = sizes.at(k) === 0 ? "0" : print(sizes.at(k));
  return (
    <section id="step" aria-labelledby="step-title">
      <h2 id="step-title">One step of SGD</h2>
      <p class="formula">p ← p − η · ∂loss/∂p for every parameter p, then the forward again</p>
      <div class="slide">
        <label for="eta">step size η = <output id="eta-value">{text}</output></label>
        <input id="eta" type="range" min="0" max={sizes.size - 1} step="1" value={k} aria-valuetext={text} onInput={(e) => setK(Number(e.currentTarget.value))} />
      </div>
      <div class="sides">
        <div>
          <p>loss before <b><V a={losses} i={0} /></b> → after <b id="loss-after"><V a={losses} i={k} /></b></p>
          <Curve sizes={sizes} losses={losses} k={k} choose={setK} />
        </div>
        <table class="probabilities">
          <thead><tr><th>class</th><th>before</th><th>after</th><th aria-hidden="true" /></tr></thead>
          <tbody>
            {order.map((c) => (
              <tr key={c} class={c === page.target ? "target" : ""}>
                <th scope="row">{page.classes[c]}{c === page.target ? " (target)" : ""}</th>
                <td><V a={probabilities} i={c} /></td>
                <td><V a={probabilities} i={k * classes + c} /></td>
                <td class="bars" aria-hidden="true"><i style={{ width: `${100 * before(c)}%` }} /><b style={{ width: `${100 * after(c)}%` }} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">
        Each of the {sizes.size - 1} steps was computed by the engine when this page was written{page.training ? "" : "; batch norms keep their running statistics"}.
        The bars: before above, after below.
      </p>
    </section>
  );
}

function Curve({ sizes, losses, k, choose }) {
  const finite = [...losses.values].filter(Number.isFinite);
  const low = Math.min(...finite), high = Math.max(...finite);
  const n = sizes.size;
  const x = (i) => 12 + (i * 276) / (n - 1);
  const y = (v) => (Number.isFinite(v) ? 108 - (96 * (v - low)) / (high - low || 1) : 8);
  const points = [...losses.values].map((v, i) => `${x(i)},${y(v)}`);
  return (
    <svg class="curve" viewBox="0 0 300 132" role="img" aria-label={`Loss after a step of each size, between ${print(low)} and ${print(high)}`}>
      <line x1="12" x2="288" y1={y(losses.at(0))} y2={y(losses.at(0))} class="base" />
      <polyline points={points.join(" ")} />
      {points.map((p, i) => <circle cx={p.split(",")[0]} cy={p.split(",")[1]} r={i === k ? 5 : 2.5} class={i === k ? "now" : ""} onClick={() => choose(i)} />)}
      <text x="12" y="128">0</text>
      <text x="288" y="128" text-anchor="end">η = {print(sizes.at(n - 1))}</text>
    </svg>
  );
}
