// Pooling: the window of one output, which of its pixels won or how they share.
import { V, inner, print } from "./format.jsx";
import { Lines, flat, name } from "./lines.jsx";
import { BigMap } from "./maps.jsx";

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

export function MaxPool({ node, place }) {
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

export function AvgPool({ node, place }) {
  const { x, y, dy, dx } = node.names;
  const out = flat(y.shape, place);
  const found = windowOf(node, place);
  const list = found.cells.flat();
  const s = node.settings;
  const sum = list.reduce((total, t) => total + x.at(t.at), 0);
  const { divisor, why } = divisorOf(node, place, list.length);
  return (
    <>
      <Lines id="forward" title={`Forward: y${name(place)} is the mean of its ${s.output_size ? "bin" : "window"}`}>
        {s.output_size && <p class="formula">bin p of O covers floor(p · H / O) to ceil((p + 1) · H / O): rows {range(found.rows)} of {x.shape[2]}, columns {range(found.columns)} of {x.shape[3]}</p>}
        <p class="formula numbers">y{name(place)} = ({list.slice(0, 4).map((t, i) => <>{i ? " + " : ""}<V a={x} i={t.at} bracket /></>)}{list.length > 4 && " + …"}) / {divisor} = {inner(sum)} / {divisor} = <b><V a={y} i={out} /></b></p>
        <p id="verdict">The divisor is {divisor}: {why}.</p>
        <div class="sides"><PoolMap node={node} place={place} found={found} /><div class="scroll" tabIndex="0"><WindowTable id="window" cells={found.cells} draw={(t) => [<V a={x} i={t.at} />, ""]} /></div></div>
      </Lines>
      {dy && (
        <Lines id="backward" title={`Backward: each pixel of the ${s.output_size ? "bin" : "window"} gets an equal share`}>
          <p class="formula numbers">dx += dy / {divisor} = <V a={dy} i={out} bracket /> / {divisor} = <b id="share">{print(dy.at(out) / divisor)}</b></p>
          <p class="note">{s.output_size ? "Bins" : "Windows"} may overlap; then dx is the sum of the shares of all that a pixel lies in:</p>
          <div class="scroll" tabIndex="0"><WindowTable id="window-dx" cells={found.cells} draw={(t) => [<V a={dx} i={t.at} />, ""]} /></div>
        </Lines>
      )}
    </>
  );
}

const range = (list) => (list.length === 1 ? `${list[0]}` : `${list[0]} to ${list.at(-1)}`);

// What the sum is divided by, and why.
function divisorOf(node, place, valid) {
  const { x } = node.names;
  const s = node.settings;
  if (s.output_size) return { divisor: valid, why: "the pixels of the bin" };
  if (s.divisor_override) return { divisor: s.divisor_override, why: "as given (divisor_override)" };
  if (!s.count_include_pad) return { divisor: valid, why: "the pixels of the window that lie in the image" };
  const span = (axis) => {
    const start = place[axis + 1] * s.stride[axis] - s.padding[axis];
    return Math.min(start + s.kernel_size[axis], x.shape[axis + 2] + s.padding[axis]) - start;
  };
  return { divisor: span(0) * span(1), why: "the pixels of the window, those of the padding too" };
}
