// What the views of all layers share: headings, flat indices, names of places.

export const flat = (shape, place) => place.reduce((at, p, axis) => at * shape[axis + 1] + p, 0);
export const name = (place) => `[${place.join(", ")}]`;

export function Lines({ title, id, children }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h3 id={`${id}-title`}>{title}</h3>
      {children}
    </section>
  );
}
