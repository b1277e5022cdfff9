// The activations as formulas: value and derivative at x, each with the parts that the page shows.

const sigma = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

// 1 − erf(z): the power series of erf near 0, the continued fraction of erfc beyond (Abramowitz & Stegun 7.1.5, 7.1.14).
export function erfc(z) {
  if (z < 0) return 2 - erfc(-z);
  if (z < 2.5) {
    let term = z, sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) sum += (term *= (-z * z * (2 * n - 1)) / (n * (2 * n + 1)));
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
}

// Of each: {formula, slope: g' as a formula, at(x): {y, slope, parts: [[name, value], …]}}
export function functionOf(operation, settings) {
  switch (operation) {
    case "relu": return { formula: "max(x, 0)", slope: "1 where x > 0, else 0", at: (x) => ({ y: Math.max(x, 0), slope: x > 0 ? 1 : 0, parts: [] }) };
    case "leaky_relu": {
      const s = settings.negative_slope;
      return { formula: `x where x > 0, else ${s} · x`, slope: `1 where x > 0, else ${s}`, at: (x) => ({ y: x > 0 ? x : s * x, slope: x > 0 ? 1 : s, parts: [] }) };
    }
    case "sigmoid": return { formula: "σ(x) = 1 / (1 + e⁻ˣ)", slope: "σ(x) · (1 − σ(x))", at: (x) => ({ y: sigma(x), slope: sigma(x) * sigma(-x), parts: [["σ(x)", sigma(x)], ["1 − σ(x)", sigma(-x)]] }) };
    case "tanh": return { formula: "tanh x", slope: "1 − tanh² x", at: (x) => ({ y: Math.tanh(x), slope: 1 / Math.cosh(x) ** 2, parts: [["tanh x", Math.tanh(x)], ["tanh² x", Math.tanh(x) ** 2]] }) };
    case "silu": return { formula: "x · σ(x)", slope: "σ(x) · (1 + x · (1 − σ(x)))", at: (x) => ({ y: x * sigma(x), slope: sigma(x) * (1 + x * sigma(-x)), parts: [["σ(x)", sigma(x)], ["1 − σ(x)", sigma(-x)]] }) };
    case "gelu": return settings.approximate === "tanh" ? tanhGelu : gelu;
  }
}

const gelu = {
  formula: "x · Φ(x), Φ the distribution function of the normal distribution", slope: "Φ(x) + x · φ(x)",
  at: (x) => {
    const P = erfc(-x / Math.SQRT2) / 2, p = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    return { y: x * P, slope: P + x * p, parts: [["Φ(x)", P], ["φ(x)", p]] };
  },
};

const tanhGelu = {
  formula: "x · σ(2u), u = √(2/π) · (x + 0.044715 x³)", slope: "σ(2u) + x · σ(2u) · (1 − σ(2u)) · 2u′",
  at: (x) => {
    const k = Math.sqrt(2 / Math.PI), u = k * (x + 0.044715 * x ** 3), du = k * (1 + 3 * 0.044715 * x * x);
    const s = sigma(2 * u);
    return { y: x * s, slope: s + x * s * sigma(-2 * u) * 2 * du, parts: [["u", u], ["σ(2u)", s], ["u′", du]] };
  },
};
