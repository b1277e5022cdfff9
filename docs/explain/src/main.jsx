// The page of `minicnn explain`: the network on the left, one layer and one number of it on the right.
import { render } from "preact";
import { useState } from "preact/hooks";
import { channelsOf, gridOf, largest, unpack } from "./data.js";
import { Detail } from "./details.jsx";
import { Statistics, V, print } from "./format.jsx";
import { Graph } from "./graph.jsx";
import { flat } from "./lines.jsx";
import { BigMap, Maps } from "./maps.jsx";
import { Step } from "./step.jsx";

const PURPOSE = {
  input: "the image, normalised", conv2d: "convolution: each filter slides over all channels", conv_transpose2d: "transposed convolution: each pixel stamps its filter into a larger image",
  linear: "every output is a weighted sum of all inputs", batch_norm: "each channel to mean 0 and variance 1, then scaled and shifted",
  max_pool2d: "the largest value of each window", avg_pool2d: "the mean of each window", adaptive_avg_pool2d: "the mean of each bin of the map",
  relu: "max(x, 0)", leaky_relu: "max(x, 0), and a little of what is below", sigmoid: "every number to one between 0 and 1", tanh: "every number to one between −1 and 1",
  silu: "x times its sigmoid", gelu: "x times the probability that a normal number is below it", dropout: "values left out at random while training",
  add: "a branch and its shortcut meet", concat: "maps one behind the other", flatten: "maps become one row of numbers", pad: "a border around each map",
  interpolate: "maps made larger or smaller", softmax: "scores become probabilities", log_softmax: "scores become logarithms of probabilities", cross_entropy: "softmax and the loss",
};

// The places with all their numbers: each of the open channels at each of the open positions.
const placesOf = (open) => open.units?.map((unit) => [unit]) ?? open.channels.flatMap((c) => open.positions.map((p) => [c, ...p]));

function weight(node, place) {
  const { y, dy } = node.names;
  const at = flat(y.shape, place);
  return Math.abs(y.at(at) * (dy?.at(at) ?? 1));
}

// Where the largest |dy · y| is: the place a layer opens with.
function start(node) {
  const { y, dy } = node.names;
  if (node.open) return placesOf(node.open).reduce((a, b) => (weight(node, b) > weight(node, a) ? b : a));
  if (y.shape.length < 2) return [0];
  let best = 0, most = -1;
  if (y.dense) {
    for (let i = 0; i < y.size; i++) {
      const v = Math.abs(y.at(i) * (dy?.at(i) ?? 1));
      if (v > most) [most, best] = [v, i];
    }
  }
  if (y.shape.length !== 4) return [best];
  const [, , H, W] = y.shape;
  return [Math.floor(best / (H * W)), Math.floor(best / W) % H, best % W];
}

function App({ page }) {
  const first = Math.max(0, page.nodes.findIndex((node) => node.operation === "conv2d"));
  const [chosen, setChosen] = useState(first);
  const [places, setPlaces] = useState({});
  const [what, setWhat] = useState("y");
  const node = page.nodes[chosen];
  const place = places[chosen] ?? start(node);
  const setPlace = (next) => setPlaces({ ...places, [chosen]: next });
  return (
    <>
      <Head page={page} />
      <div class="body">
        <Graph nodes={page.nodes} chosen={chosen} choose={setChosen} />
        <main>
          <Layer key={chosen} page={page} node={node} place={place} setPlace={setPlace} what={what} setWhat={setWhat} />
          <Step page={page} />
          <footer class="note">
            {page.whole ? `All ${page.values.toLocaleString("en")} numbers of this run are on the page.` : "The numbers of this run are too many for one page. Of each layer it has the channels that matter most to the loss; in each of them the outlined positions (of a layer without maps the outlined units) have all their numbers, exact. Everything else is in the pictures, which have 8 bits, and in the statistics."}{" "}
            Numbers are printed to five significant digits; sums marked “here” are added up by the page, all others are the engine's.
          </footer>
        </main>
      </div>
    </>
  );
}

function Head({ page }) {
  const top = page.classes.map((_, c) => c).sort((a, b) => page.probabilities.at(b) - page.probabilities.at(a)).slice(0, 3);
  return (
    <header>
      <Picture array={page.picture} />
      <div>
        <h1>{page.model}: one image, forward and backward</h1>
        <p>
          {top.map((c, i) => <>{i ? ", " : "found: "}<b>{page.classes[c]}</b> (<V a={page.probabilities} i={c} />)</>)}. Loss <b><V a={page.nodes.at(-1).names.y} i={0} /></b> for the
          target <b>{page.classes[page.target]}</b>{page.given ? "" : " (the class it found: none was given)"}; {page.training ? "in training mode" : "in evaluation mode"}.
        </p>
      </div>
    </header>
  );
}

function Picture({ array }) {
  const [channels, height, width] = array.shape;
  const draw = (canvas) => {
    if (!canvas) return;
    canvas.width = width;
    canvas.height = height;
    const picture = new ImageData(width, height);
    const n = width * height;
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < 3; c++) picture.data[4 * i + c] = 255 * array.at((channels === 3 ? c : 0) * n + i);
      picture.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };
  return <canvas class="photo" ref={draw} role="img" aria-label="the image" />;
}

function Layer({ page, node, place, setPlace, what, setWhat }) {
  const { y, dy } = node.names;
  const array = what === "dy" && dy && dy.size === y.size ? dy : y;
  const maps = y.shape.length === 4;
  const loss = y.size === 1;
  const shown = maps ? place[0] : 0;
  const label = array === dy ? "gradient ∂loss/∂y" : "output y";
  const width = gridOf(y)[1]; // of a vector's rows
  const at = maps ? place.slice(1) : [Math.floor(place[0] / width), place[0] % width];
  const pick = (row, column) => setPlace(maps ? [shown, row, column] : [row * width + column]);
  const spots = node.open && (node.open.positions ?? [...node.open.units].sort((a, b) => a - b).map((u) => [Math.floor(u / width), u % width]));
  const set = (axis, value) => {
    const limit = y.shape[axis + 1];
    if (!Number.isInteger(value) || value < 0 || value >= limit) return;
    const next = [...place];
    next[axis] = value;
    setPlace(next);
  };
  const axes = maps ? ["channel", "row", "column"] : ["unit"];
  return (
    <section id="layer" aria-labelledby="layer-title">
      <h2 id="layer-title">
        {node.operation.replaceAll("_", " ")} {node.module !== "loss" && node.module && <code>{node.module}</code>}
        <small>{PURPOSE[node.operation] ?? ""}</small>
      </h2>
      {!loss && (
        <>
          <div class="row">
            <div class="switch" role="group" aria-label="what the maps show">
              <button aria-pressed={array === y} id="show-y" onClick={() => setWhat("y")}>feature maps y</button>
              <button aria-pressed={array === dy} id="show-dy" disabled={!dy} onClick={() => setWhat("dy")}>gradients dy</button>
            </div>
            <Statistics of={array === dy ? node.dy : node.y} title={`${label}, ${node.shape.join(" × ")}`} />
          </div>
          <div class="sides maps-side">
            <div>
              <BigMap array={array} channel={shown} place={at} choose={pick} open={spots} label={`${label}${maps ? `, channel ${shown}` : ""}`} id="big-map" />
              {node.open ? (
                <div class="row open-list" role="group" aria-label={`${maps ? "positions" : "units"} with all their numbers`}>
                  {spots.map(([row, column]) => <button aria-pressed={at[0] === row && at[1] === column} onClick={() => pick(row, column)}>{maps ? `${row}, ${column}` : row * width + column}</button>)}
                </div>
              ) : (
                <div class="row place">
                  {axes.map((axis, k) => (
                    <label>{axis} <input type="number" id={`at-${axis}`} min="0" max={y.shape[k + 1] - 1} value={place[k]} onInput={(e) => set(k, e.currentTarget.valueAsNumber)} /></label>
                  ))}
                </div>
              )}
              {!maps && <p class="note">{y.size} units, row by row; full colour is ±{print(largest(array))}.</p>}
            </div>
            <Maps array={array} channels={node.open?.channels ?? channelsOf(array)} channel={shown} choose={(c) => setPlace([c, place[1], place[2]])} what={label} />
          </div>
        </>
      )}
      <Detail page={page} node={node} place={place} />
    </section>
  );
}

unpack().then((page) => {
  document.title = `${page.model}: minicnn explain`;
  const root = document.getElementById("app");
  root.textContent = "";
  render(<App page={page} />, root);
  root.dataset.ready = Math.ceil(performance.now()); // milliseconds since the page was opened
}).catch((problem) => {
  document.getElementById("app").textContent = `This page cannot be shown: ${problem}`;
  throw problem;
});
