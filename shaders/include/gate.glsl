/* gate.glsl - the gates of gated MLPs (Shazeer, GLU variants improve transformer, 2020,
 * arXiv:2002.05202): x / (1 + exp(-z)), with z = x (SiLU), or sqrt(8 / pi) (x + 0.044715 x^3),
 * which is GELU by its tanh (Hendrycks and Gimpel, Gaussian error linear units, 2016,
 * arXiv:1606.08415), since (1 + tanh(z / 2)) / 2 = 1 / (1 + exp(-z)). */
#ifndef APUS_GATE_GLSL
#define APUS_GATE_GLSL
#include "args/swiglu.h"

const float GELU_SCALE = 1.5957691216, GELU_CUBE = 0.044715;

vec4 apus_gate_z(uint gate, vec4 x)
{
    return gate == APUS_GATE_GELU ? GELU_SCALE * (x + GELU_CUBE * x * x * x) : x;
}

vec4 apus_gate(uint gate, vec4 x)
{
    return x / (1.0 + exp(-apus_gate_z(gate, x)));
}

/* dz/dx; where x * x would overflow the gate is flat. */
vec4 apus_gate_slope(uint gate, vec4 x)
{
    return gate == APUS_GATE_GELU ? GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * min(x * x, 1e8))
                                  : vec4(1.0);
}

#endif
