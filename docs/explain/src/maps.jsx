// Feature maps on canvases: blue below zero, red above, the colour of the page at zero.
import { useEffect, useRef } from "preact/hooks";
import { largest, mapOf } from "./data.js";
import { print } from "./format.jsx";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

export function colour(share) {
  const t = Math.min(1, Math.abs(share)) ** 0.7;
  const zero = dark.matches ? [24, 27, 34] : [250, 250, 250];
  const end = share > 0 ? (dark.matches ? [255, 120, 70] : [190, 30, 20]) : dark.matches ? [80, 170, 255] : [15, 80, 190];
  return zero.map((z, i) => z + (end[i] - z) * t);
}

export function paint(canvas, map, scale) {
  canvas.width = map.width;
  canvas.height = map.height;
  const picture = new ImageData(map.width, map.height);
  for (let r = 0, at = 0; r < map.height; r++) {
    for (let c = 0; c < map.width; c++, at += 4) {
      const v = map.at(r, c);
      const rgb = v === undefined ? [0, 0, 0] : Number.isFinite(v) ? colour(scale ? v / scale : 0) : [255, 0, 255];
      picture.data.set([rgb[0], rgb[1], rgb[2], v === undefined ? 0 : 255], at);
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

export function Canvas({ map, scale, label, ...rest }) {
  const ref = useRef();
  useEffect(() => {
    const draw = () => ref.current && paint(ref.current, map, scale);
    draw();
    dark.addEventListener("change", draw);
    return () => dark.removeEventListener("change", draw);
  });
  return <canvas ref={ref} role="img" aria-label={label} {...rest} />;
}

// All maps of a layer; a click on one chooses its channel.
export function Maps({ array, channels, channel, choose, what }) {
  if (array.shape.length !== 4 || channels.length < 2) return null;
  const scale = largest(array);
  const all = array.shape[1];
  return (
    <div>
      <div class="maps" role="group" aria-label={`${what} by channel`}>
        {channels.map((c) => (
          <button key={c} class="map" aria-pressed={c === channel} title={`channel ${c}`} data-channel={c} onClick={() => choose(c)}>
            <Canvas map={mapOf(array, c)} scale={scale} label={`channel ${c}`} />
          </button>
        ))}
      </div>
      <p class="note">
        {channels.length === all ? `All ${all} channels` : `${channels.length} of ${all} channels, those with the largest Σ |y · dy|`},
        one scale: full colour is ±{print(scale)}.
        {!array.dense && ` These pictures have 8 bits a cell${array.picture.shrink > 1 ? `, each the mean of ${array.picture.shrink} × ${array.picture.shrink} values` : ""}; numbers in figures are exact.`}
      </p>
    </div>
  );
}

// One map, large. A click or the arrow keys choose a place, among `open` ones where they are given ([[row, column], …]);
// marks: [{row, column, height, width, kind}].
export function BigMap({ array, channel, place, choose, marks = [], open, label, id }) {
  const map = mapOf(array, channel);
  const vector = array.shape.length !== 4;
  if (!map) return <p class="note">There is no picture of channel {channel} on this page.</p>;
  const [rows, columns] = vector ? [map.height, map.width] : array.shape.slice(2);
  const limit = vector ? array.size : Infinity;
  const closest = (row, column, list) => list.reduce((best, p) => {
    const far = (p[0] - row) ** 2 + (p[1] - column) ** 2;
    return best && best.far <= far ? best : { far, at: p };
  }, null)?.at;
  const nearest = (row, column) => (open ? closest(row, column, open) : [row, column]);
  const go = (row, column) => {
    if (!choose) return;
    const found = nearest(Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(columns - 1, column)));
    if (found && found[0] * columns + found[1] < limit) choose(found[0], found[1]);
  };
  const click = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    go(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns));
  };
  const keys = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const key = (event) => {
    const move = keys[event.key];
    if (!move || !place || !choose) return;
    event.preventDefault();
    if (!open) return go(place[0] + move[0], place[1] + move[1]);
    // among open places, the next one that lies more that way than to the side
    const ahead = (p) => (p[0] - place[0]) * move[0] + (p[1] - place[1]) * move[1];
    const aside = (p) => Math.abs((p[0] - place[0]) * move[1]) + Math.abs((p[1] - place[1]) * move[0]);
    const next = closest(place[0], place[1], open.filter((p) => ahead(p) > 0 && ahead(p) >= aside(p)));
    if (next) choose(...next);
  };
  const box = (m) => ({
    top: `${(100 * m.row) / rows}%`, left: `${(100 * m.column) / columns}%`,
    height: `${(100 * m.height) / rows}%`, width: `${(100 * m.width) / columns}%`,
  });
  const all = place ? [...marks, { row: place[0], column: place[1], height: 1, width: 1, kind: "here" }] : marks;
  return (
    <div
      id={id} class={`big${choose ? " choose" : ""}`} style={{ aspectRatio: `${columns} / ${rows}` }} tabIndex={choose ? 0 : -1}
      role={choose ? "application" : "group"} aria-label={choose ? `${label}: arrow keys move the chosen place` : label} onClick={choose && click} onKeyDown={key}
    >
      <Canvas map={map} scale={largest(array)} label={label} />
      {open?.map(([row, column]) => <span class="mark open" style={box({ row, column, height: 1, width: 1 })} />)}
      {all.map((m) => <span class={`mark ${m.kind}`} style={box(m)} />)}
    </div>
  );
}
