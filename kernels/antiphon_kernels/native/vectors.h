// SIMD vectors of floats and the functions that PyTorch computes by vector too, within a few units in the last place.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#else
constexpr int WIDTH = 8;
#endif

template <int N>
struct Lanes {
    typedef float Float __attribute__((vector_size(N * 4)));
    typedef float Loose __attribute__((vector_size(N * 4), aligned(4)));
    typedef int32_t Int __attribute__((vector_size(N * 4)));
};

using Vector = Lanes<WIDTH>::Float;

template <int N>
inline typename Lanes<N>::Float load(const float* from) {
    return *reinterpret_cast<const typename Lanes<N>::Loose*>(from);
}

template <int N>
inline void store(float* to, typename Lanes<N>::Float value) {
    *reinterpret_cast<typename Lanes<N>::Loose*>(to) = value;
}

// The nearest whole number of |x| < 2**22: the addition rounds off all bits behind the point.
template <typename V>
inline V nearest(V x) {
    const float shift = 12582912.0f;
    return (x + shift) - shift;
}

// sin(x)**2, by its period of pi; a polynomial of degree 11 on [-pi/2, pi/2].
template <typename V>
inline V sine_squared(V x) {
    V turns = nearest(x * 0.31830988618379067f);
    V r = x - turns * 3.1414794921875f;
    r = r - turns * 0.00011315941810607910156f;
    r = r - turns * 1.9841872589410058936e-09f;
    V r2 = r * r;
    V p = r2 * -2.39068105e-08f + 2.75264621e-06f;
    p = p * r2 - 1.98408906e-04f;
    p = p * r2 + 8.33333129e-03f;
    p = p * r2 - 1.66666666e-01f;
    V sine = r + r * r2 * p;
    return sine * sine;
}

template <int N>
inline typename Lanes<N>::Float exponential(typename Lanes<N>::Float x) {
    using V = typename Lanes<N>::Float;
    using I = typename Lanes<N>::Int;
    const V low = V{} - 87.0f, high = V{} + 88.0f;
    x = x < low ? low : x;
    x = x > high ? high : x;
    V n = nearest(x * 1.44269504088896341f);
    V r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    V whole = p * r * r + r + 1.0f;
    I scale = (__builtin_convertvector(n, I) + 127) << 23;
    V power;
    std::memcpy(&power, &scale, sizeof(power));
    return whole * power;
}

// A rational function of x on [-4, 4], beyond which erf is 1 in float32 (Eigen, `generic_fast_erf_float`).
template <typename V>
inline V error_function(V x) {
    const V low = V{} - 4.0f, high = V{} + 4.0f;
    x = x < low ? low : x;
    x = x > high ? high : x;
    V x2 = x * x;
    V p = x2 * -2.72614225801306e-10f + 2.77068142495902e-08f;
    p = p * x2 - 2.10102402082508e-06f;
    p = p * x2 - 5.69250639462346e-05f;
    p = p * x2 - 7.34990630326855e-04f;
    p = p * x2 - 2.95459980854025e-03f;
    p = p * x2 - 1.60960333262415e-02f;
    V q = x2 * -1.45660718464996e-05f - 2.13374055278905e-04f;
    q = q * x2 - 1.68282697438203e-03f;
    q = q * x2 - 7.37332916720468e-03f;
    q = q * x2 - 1.42647390514189e-02f;
    return x * p / q;
}
