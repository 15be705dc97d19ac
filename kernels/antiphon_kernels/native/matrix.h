// Products of rows with packed matrices: the linear layers, convolutions and transposed convolutions of a frame.

#pragma once

#include "vectors.h"

// `weight`: panels of 32, 16 or 8 outputs, each [taps * in][panel]. `in` and `out` are multiples of 8. Output row i
// reads the input rows i, i + dilation, ... A transposed convolution has as many times the outputs as its stride.
// Mirrored by `library.Matrix`.
struct Matrix {
    const float* weight;
    const float* bias;
    int32_t in, out, taps, dilation;
};

inline int panel_width(int out) { return out % 32 == 0 ? 32 : out % 16 == 0 ? 16 : 8; }

// R rows by V vectors of N lanes. A row's sum has the same order in every tile, so its value does not depend on R.
template <int R, int V, int N>
inline void tile(const Matrix& m, const float* x, const float* weight, const float* bias, float* y, bool add) {
    using Float = typename Lanes<N>::Float;
    Float sum[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) sum[r][v] = bias ? load<N>(bias + v * N) : Float{};
    for (int tap = 0; tap < m.taps; tap++) {
        const float* row = x + static_cast<int64_t>(tap) * m.dilation * m.in;
        for (int i = 0; i < m.in; i++, weight += V * N) {
            Float w[V];
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) w[v] = load<N>(weight + v * N);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++)
#pragma GCC unroll 16
                for (int v = 0; v < V; v++) sum[r][v] += row[r * m.in + i] * w[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) {
            float* to = y + static_cast<int64_t>(r) * m.out + v * N;
            store<N>(to, add ? load<N>(to) + sum[r][v] : sum[r][v]);
        }
}

template <int PANEL>
inline void panels(const Matrix& m, const float* x, int rows, float* y, bool add) {
    constexpr int N = PANEL < WIDTH ? PANEL : WIDTH, V = PANEL / N;
    constexpr int R = WIDTH == 16 ? 8 : (V == 4 ? 2 : V == 2 ? 4 : 8);
    const int64_t size = static_cast<int64_t>(m.taps) * m.in * PANEL;
    const float* weight = m.weight;
    for (int o = 0; o < m.out; o += PANEL, weight += size) {
        const float* bias = m.bias ? m.bias + o : nullptr;
        int row = 0;
        for (; row + R <= rows; row += R)
            tile<R, V, N>(m, x + static_cast<int64_t>(row) * m.in, weight, bias, y + static_cast<int64_t>(row) * m.out + o, add);
        if (R > 4 && row + 4 <= rows) {
            tile<4, V, N>(m, x + static_cast<int64_t>(row) * m.in, weight, bias, y + static_cast<int64_t>(row) * m.out + o, add);
            row += 4;
        }
        if (R > 2 && row + 2 <= rows) {
            tile<2, V, N>(m, x + static_cast<int64_t>(row) * m.in, weight, bias, y + static_cast<int64_t>(row) * m.out + o, add);
            row += 2;
        }
        if (row < rows)
            tile<1, V, N>(m, x + static_cast<int64_t>(row) * m.in, weight, bias, y + static_cast<int64_t>(row) * m.out + o, add);
    }
}

// `x`: [rows + (taps - 1) * dilation][in]; `y`: [rows][out], set or, if `add`, added to.
inline void multiply(const Matrix& m, const float* x, int rows, float* y, bool add = false) {
    switch (panel_width(m.out)) {
        case 32: return panels<32>(m, x, rows, y, add);
        case 16: return panels<16>(m, x, rows, y, add);
        default: return panels<8>(m, x, rows, y, add);
    }
}
