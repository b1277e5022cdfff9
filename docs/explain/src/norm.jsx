// Batch norm: the statistics of a channel and the three terms of its backward.
import { V, inner, print } from "./format.jsx";
import { Lines, flat, name } from "./lines.jsx";

export function BatchNorm({ node, place }) {
  const { x, y, dy, dx, weight, bias, mean, var: variance, own_mean, own_var, sum_dy, sum_dy_x_hat, dweight, dbias } = node.names;
  const at = flat(y.shape, place);
  const c = place[0];
  const { eps, training } = node.settings;
  const m = x.size / x.shape[1];
  const inv = 1 / Math.sqrt(variance.at(c) + eps);
  const hat = (x.at(at) - mean.at(c)) * inv;
  const w = weight ? weight.at(c) : 1;
  const g = dy?.at(at);
  const own = 1 / Math.sqrt(own_var.at(c) + eps);
  const ownHat = (x.at(at) - own_mean.at(c)) * own;
  const terms = (i, h) => [w * i * g, (-w * i * sum_dy.at(c)) / m, (-w * i * h * sum_dy_x_hat.at(c)) / m];
  const three = terms(own, ownHat);
  const Terms = ({ values }) => (
    <table class="sum" id="terms">
      <tbody>
        <tr><th scope="row">1. directly: weight/σ · dy</th><td>{print(values[0])}</td></tr>
        <tr><th scope="row">2. through the mean: −weight/σ · Σ dy / m</th><td>{print(values[1])}</td></tr>
        <tr><th scope="row">3. through the variance: −weight/σ · x̂ · Σ(dy · x̂) / m</th><td>{print(values[2])}</td></tr>
        <tr><th scope="row">sum</th><td>{print(values[0] + values[1] + values[2])}</td></tr>
      </tbody>
    </table>
  );
  const statistics = training ? "of this image" : "running, from training";
  return (
    <>
      <Lines id="forward" title={`Forward: normalised with the statistics of channel ${c}`}>
        <p class="formula">y = (x − mean) / √(var + ε) · weight + bias</p>
        <p class="formula numbers">
          y{name(place)} = (<V a={x} i={at} /> − <V a={mean} i={c} bracket />) / √(<V a={variance} i={c} /> + {print(eps)}) · {weight ? <V a={weight} i={c} bracket /> : "1"} + {bias ? <V a={bias} i={c} bracket /> : "0"} = <b><V a={y} i={at} /></b>
        </p>
        <table class="sum"><tbody>
          <tr><th scope="row">mean ({statistics})</th><td><V a={mean} i={c} /></td></tr>
          <tr><th scope="row">variance ({statistics})</th><td><V a={variance} i={c} /></td></tr>
          {!training && <><tr><th scope="row">mean of this image's {m} values</th><td><V a={own_mean} i={c} /></td></tr><tr><th scope="row">variance of this image's {m} values</th><td><V a={own_var} i={c} /></td></tr></>}
          <tr><th scope="row">x̂ = (x − mean) / √(var + ε)</th><td>{print(hat)}</td></tr>
        </tbody></table>
      </Lines>
      {dy && (
        <Lines id="backward" title="Backward: three terms">
          <p class="formula">dx = weight/σ · (dy − Σ dy / m − x̂ · Σ(dy · x̂) / m), σ = √(var + ε), m = {m} values</p>
          {training ? <Terms values={three} /> : <p class="formula numbers">In evaluation mean and variance are constants: terms 2 and 3 are 0, dx{name(place)} = {inner(w)} / √({print(variance.at(c))} + {print(eps)}) · <V a={dy} i={at} bracket /></p>}
          <p class="formula numbers">dx{name(place)} = <b><V a={dx} i={at} /></b> from the engine{dweight && <>; dweight[{c}] = Σ dy · x̂ = <V a={dweight} i={c} /></>}{dbias && <>; dbias[{c}] = Σ dy = <V a={dbias} i={c} /></>}</p>
          {!training && <><h4>In training, with this image's own statistics and the same dy, the three terms would be</h4><Terms values={three} /></>}
        </Lines>
      )}
    </>
  );
}
