// The arrays of the page: decoded once, then read by flat index. A place that was not kept is undefined.

const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array };

class Dense {
  constructor(key, entry, values) {
    Object.assign(this, { key, shape: entry.shape, values });
    this.dense = true;
    this.size = values.length;
  }
  at(i) { return this.values[i]; }
}

class Sparse {
  constructor(key, entry, places, values, picture) {
    Object.assign(this, { key, shape: entry.shape, places, values, picture });
    this.dense = false;
    this.size = entry.shape.reduce((a, b) => a * b, 1);
  }
  at(i) {
    let low = 0, high = this.places.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.places[middle] === i) return this.values[middle];
      if (this.places[middle] < i) low = middle + 1; else high = middle - 1;
    }
    return undefined;
  }
}

export async function unpack() {
  const page = JSON.parse(document.getElementById("document").textContent);
  const text = atob(document.getElementById("payload").textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(stream).arrayBuffer();
  const arrays = {};
  for (const [key, entry] of Object.entries(page.arrays)) arrays[key] = read(key, entry, bytes);
  for (const node of page.nodes) {
    for (const name in node.names) node.names[name] = arrays[node.names[name]];
  }
  page.picture = arrays[page.picture];
  page.probabilities = arrays[page.probabilities];
  for (const name in page.step) page.step[name] = arrays[page.step[name]];
  return page;
}

function read(key, entry, bytes) {
  const Kind = KINDS[entry.dtype];
  const size = entry.shape.reduce((a, b) => a * b, 1);
  if (entry.at !== undefined && entry.indices === undefined) return new Dense(key, entry, new Kind(bytes, entry.at, size));
  const count = entry.count ?? 0;
  const places = count ? new Int32Array(bytes, entry.indices, count).slice() : new Int32Array(0);
  for (let i = 1; i < count; i++) places[i] += places[i - 1];
  const values = count ? new Kind(bytes, entry.at, count) : new Kind(0);
  const p = entry.picture;
  const picture = p && { ...p, cells: new Int8Array(bytes, p.at, p.channels.length * p.height * p.width) };
  return new Sparse(key, entry, places, values, picture);
}

// Map of one channel, for drawing: {height, width, shrink, at(row, column)}, or null where there is none.
export function mapOf(array, channel) {
  const [, height, width] = array.shape.length === 4 ? array.shape.slice(1) : array.shape.length === 3 ? array.shape : [0, ...gridOf(array)];
  if (array.dense) {
    const base = channel * height * width;
    return { height, width, shrink: 1, at: (r, c) => array.values[base + r * width + c] };
  }
  const p = array.picture;
  const k = p ? p.channels.indexOf(channel) : -1;
  if (k < 0) return null;
  const base = k * p.height * p.width;
  return { height: p.height, width: p.width, shrink: p.shrink, at: (r, c) => (p.cells[base + r * p.width + c] * p.scale) / 127 };
}

// A vector is drawn as rows of at most 32 cells.
export function gridOf(array) {
  const n = array.size;
  const width = n <= 32 ? n : 32;
  return [Math.ceil(n / width), width];
}

export function channelsOf(array) {
  if (array.shape.length !== 4) return [0];
  if (array.dense) return Array.from({ length: array.shape[1] }, (_, i) => i);
  return array.picture ? array.picture.channels : [];
}

export function largest(array) {
  let most = 0;
  if (!array.dense && array.picture) return array.picture.scale;
  for (const v of array.values) if (Number.isFinite(v) && Math.abs(v) > most) most = Math.abs(v);
  return most;
}
