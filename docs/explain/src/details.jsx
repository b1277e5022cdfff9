// What one number of each kind of layer came from, and where its gradient goes.
import { Conv } from "./conv.jsx";
import { Linear } from "./linear.jsx";
import { CrossEntropy, LogSoftmax, Softmax } from "./loss.jsx";
import { Concat, Flatten, Interpolate, Pad } from "./moving.jsx";
import { BatchNorm } from "./norm.jsx";
import { Activation, Add, Dropout, Elementwise, Image, Relu } from "./pointwise.jsx";
import { AvgPool, MaxPool } from "./pooling.jsx";
import { ConvTranspose } from "./transposed.jsx";

const KINDS = {
  input: Image, conv2d: Conv, conv_transpose2d: ConvTranspose, linear: Linear, batch_norm: BatchNorm,
  max_pool2d: MaxPool, avg_pool2d: AvgPool, adaptive_avg_pool2d: AvgPool,
  relu: Relu, leaky_relu: Activation, sigmoid: Activation, tanh: Activation, silu: Activation, gelu: Activation,
  dropout: Dropout, add: Add, flatten: Flatten, pad: Pad, concat: Concat, interpolate: Interpolate,
  softmax: Softmax, log_softmax: LogSoftmax, cross_entropy: CrossEntropy,
};

export function Detail(props) {
  const Kind = KINDS[props.node.operation] ?? Elementwise;
  return <Kind {...props} />;
}
