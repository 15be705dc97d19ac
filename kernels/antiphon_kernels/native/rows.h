// Operations on rows of floats whose lengths are multiples of 8.

#pragma once

#include <cmath>
#include <thread>
#include <vector>

#include "vectors.h"

inline float dot(const float* a, const float* b, int n) {
    Lanes<8>::Float sum{};
    for (int i = 0; i < n; i += 8) sum += load<8>(a + i) * load<8>(b + i);
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

inline void add_scaled(float* y, const float* x, float by, int n) {
    for (int i = 0; i < n; i += 8) store<8>(y + i, load<8>(y + i) + load<8>(x + i) * by);
}

// y += x * by, element by element.
inline void add_product(float* y, const float* x, const float* by, int n) {
    for (int i = 0; i < n; i += 8) store<8>(y + i, load<8>(y + i) + load<8>(x + i) * load<8>(by + i));
}

// Without `weight`: all ones.
inline void rms_norm(const float* x, const float* weight, float eps, int n, float* y) {
    const float scale = 1.0f / std::sqrt(dot(x, x, n) / n + eps);
    for (int i = 0; i < n; i += 8) {
        Lanes<8>::Float value = load<8>(x + i) * scale;
        store<8>(y + i, weight ? value * load<8>(weight + i) : value);
    }
}

inline void layer_norm(float* x, const float* weight, const float* bias, float eps, int n) {
    Lanes<8>::Float sum{};
    for (int i = 0; i < n; i += 8) sum += load<8>(x + i);
    float mean = 0;
    for (int i = 0; i < 8; i++) mean += sum[i];
    mean /= n;
    for (int i = 0; i < n; i += 8) store<8>(x + i, load<8>(x + i) - mean);
    const float scale = 1.0f / std::sqrt(dot(x, x, n) / n + eps);
    for (int i = 0; i < n; i += 8)
        store<8>(x + i, load<8>(x + i) * scale * load<8>(weight + i) + load<8>(bias + i));
}

inline void gelu(float* x, int64_t n) {
    for (int64_t i = 0; i < n; i += 8) {
        Lanes<8>::Float v = load<8>(x + i);
        store<8>(x + i, v * 0.5f * (1.0f + error_function(v * 0.70710678118654752f)));
    }
}

// [rows][2 * n] of gate and up → [rows][n], silu(gate) * up.
inline void gate(const float* x, int rows, int n, float* y) {
    for (int row = 0; row < rows; row++, x += 2 * n, y += n)
        for (int i = 0; i < n; i += 8) {
            Lanes<8>::Float v = load<8>(x + i);
            store<8>(y + i, v / (1.0f + exponential<8>(-v)) * load<8>(x + n + i));
        }
}

// Attention of one query over `count` keys and values, `stride` floats apart. `scores`: scratch of `count` floats.
inline void attend(const float* query, const float* keys, const float* values, int64_t stride, int count, int dim,
                   float* scores, float* out) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    float best = -INFINITY, total = 0;
    for (int k = 0; k < count; k++) {
        scores[k] = dot(query, keys + k * stride, dim) * scale;
        best = scores[k] > best || scores[k] != scores[k] ? scores[k] : best;
    }
    for (int k = 0; k < count; k++) total += scores[k] = std::exp(scores[k] - best);
    std::memset(out, 0, dim * sizeof(float));
    for (int k = 0; k < count; k++) add_scaled(out, values + k * stride, scores[k] / total, dim);
}

// Calls run(begin, end) for parts of `rows`, in `threads` threads.
template <typename Run>
inline void share_rows(int rows, int threads, Run run) {
    threads = threads < rows ? threads : rows;
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++)
        others.emplace_back([=] { run(rows * t / threads, rows * (t + 1) / threads); });
    if (rows) run(0, rows / (threads > 0 ? threads : 1));
    for (auto& other : others) other.join();
}
