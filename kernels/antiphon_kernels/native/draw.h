// Draws one code from scores as `antiphon_kernels/draw.py` does, which defines it.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>

constexpr int MAX_TOP_K = 64;  // of draw.py
constexpr int MAX_VOCAB = 8192;

inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// `noise_keys` of one code group.
inline uint64_t noise_key(int64_t seed, int64_t frame, int group) {
    return mix(mix(static_cast<uint64_t>(seed) + 0x9E3779B97F4A7C15ull) ^ mix(static_cast<uint64_t>(frame * 64 + group)));
}

inline float uniform(uint64_t key, int code) {
    const uint64_t bits = mix(key + static_cast<uint64_t>(code + 1) * 0x9E3779B97F4A7C15ull) >> 41;
    return (static_cast<float>(bits) + 0.5f) * 0x1p-23f;
}

inline int first_best(const float* scores, int vocab) {
    int best = 0;
    for (int code = 1; code < vocab; code++)
        if (scores[code] > scores[best]) best = code;
    return best;
}

// The kept scores over temperature, descending: those of the best MAX_TOP_K that are not below the k-th.
inline int candidates(const float* scores, int vocab, float temperature, int64_t top_k, float* values, int32_t* codes) {
    float sorted[MAX_VOCAB];
    std::copy(scores, scores + vocab, sorted);
    const int limit = std::min(MAX_TOP_K, vocab), k = static_cast<int>(std::min<int64_t>(top_k, limit));
    std::nth_element(sorted, sorted + (k - 1), sorted + vocab, std::greater<float>());
    const float last = sorted[k - 1] / temperature;
    std::pair<float, int32_t> found[MAX_VOCAB];
    int count = 0;
    for (int code = 0; code < vocab; code++)
        if (scores[code] / temperature >= last) found[count++] = {scores[code], code};
    std::sort(found, found + count, [](auto a, auto b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
    count = std::min(count, limit);
    for (int i = 0; i < count; i++) values[i] = found[i].first / temperature, codes[i] = found[i].second;
    return count;
}

// How many of the candidates stay: equal values stay or go together.
inline int nucleus(const float* values, int count, float top_p) {
    if (top_p >= 1) return count;
    float share[MAX_TOP_K];
    double total = 0, tail = 0;
    for (int i = count - 1; i >= 0; i--) total += share[i] = std::exp(values[i] - values[0]);
    int kept = 1;
    for (int i = count - 1; i >= 0; i--) {
        tail += share[i] / static_cast<float>(total);
        if (static_cast<float>(tail) > 1 - top_p) {
            kept = i + 1;
            break;
        }
    }
    while (kept < count && values[kept] == values[kept - 1]) kept++;
    return kept;
}

inline int draw(const float* scores, int vocab, float temperature, int64_t top_k, float top_p, uint64_t key) {
    for (int code = 0; code < vocab; code++)
        if (!(scores[code] < INFINITY)) return 0;  // the frame step ends such a stream
    if (!(temperature > 0)) return first_best(scores, vocab);
    float values[MAX_TOP_K], best = -INFINITY;
    int32_t codes[MAX_TOP_K];
    const int kept = nucleus(values, candidates(scores, vocab, temperature, top_k, values, codes), top_p);
    int drawn = codes[0];
    for (int i = 0; i < kept; i++) {
        const float value = values[i] - std::log(-std::log(uniform(key, codes[i])));
        if (value > best) best = value, drawn = codes[i];
    }
    return drawn;
}
