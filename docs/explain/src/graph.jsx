// The network as a column of operations; an arc on the left where data skips some.
import { useEffect, useRef } from "preact/hooks";

const ROW = 34;
const GROUPS = {
  conv2d: "conv", conv_transpose2d: "conv", linear: "conv", batch_norm: "norm", max_pool2d: "pool", avg_pool2d: "pool",
  adaptive_avg_pool2d: "pool", cross_entropy: "loss", add: "join", concat: "join", input: "image",
};

export function Graph({ nodes, chosen, choose }) {
  const arcs = [];
  nodes.forEach((node, to) => node.sources.forEach((from) => { if (from >= 0 && from < to - 1) arcs.push([from, to]); }));
  const lanes = [];
  const placed = arcs.map(([from, to]) => {
    let lane = lanes.findIndex((end) => end <= from);
    if (lane < 0) lane = lanes.push(0) - 1;
    lanes[lane] = to;
    return { from, to, lane };
  });
  const list = useRef();
  useEffect(() => { // the chosen layer into sight, without moving the page
    const box = list.current, at = y(chosen);
    if (at < box.scrollTop + ROW || at > box.scrollTop + box.clientHeight - ROW) box.scrollTop = at - box.clientHeight / 2;
  }, [chosen]);
  const gutter = 16 + 10 * lanes.length;
  const y = (i) => i * ROW + ROW / 2;
  const key = (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1, Home: -nodes.length, End: nodes.length }[event.key];
    if (!move) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(nodes.length - 1, chosen + move));
    choose(next);
    event.currentTarget.querySelectorAll("button")[next].focus();
  };
  return (
    <nav ref={list} class="graph" aria-label="The network; arrow keys go from layer to layer" onKeyDown={key}>
      <div style={{ position: "relative", paddingLeft: `${gutter}px` }}>
        <svg width={gutter} height={nodes.length * ROW} aria-hidden="true">
          {nodes.map((node, i) => node.sources.includes(i - 1) && <path d={`M${gutter - 8} ${y(i - 1)}V${y(i)}`} />)}
          {placed.map(({ from, to, lane }) => {
            const x = gutter - 8 - 10 * (lane + 1);
            return <path class="skip" d={`M${gutter - 8} ${y(from)}H${x + 4}Q${x} ${y(from)} ${x} ${y(from) + 4}V${y(to) - 4}Q${x} ${y(to)} ${x + 4} ${y(to)}H${gutter - 8}`} />;
          })}
          {nodes.map((_, i) => <circle cx={gutter - 8} cy={y(i)} r="3" />)}
        </svg>
        {nodes.map((node, i) => (
          <button key={i} class={`node ${GROUPS[node.operation] ?? ""}`} style={{ height: `${ROW - 4}px` }} aria-current={i === chosen ? "true" : undefined}
            tabIndex={i === chosen ? 0 : -1} data-node={i} title={node.module} onClick={() => choose(i)}>
            <span class="op">{node.operation.replaceAll("_", " ")}</span>
            <span class="where">{node.module === "loss" ? "" : node.module}</span>
            <span class="shape">{node.shape.join("×") || "1"}</span>
          </button>
        ))}
      </div>
    </nav>
  );
}
