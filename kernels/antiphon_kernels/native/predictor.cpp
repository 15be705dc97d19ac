// The code predictor of a frame in float32: all groups, with the draws between them. Defined by `CodePredictor`.

#include "draw.h"
#include "matrix.h"
#include "rows.h"

namespace {

struct Layer {  // `library.PredictorLayer`
    Matrix qkv, out, gate_up, down;
    const float *input_norm, *post_norm;
    const float *cosine, *sine;  // [groups][heads + kv_heads][head_dim], times the norms of queries and keys
};

struct Predictor {  // `library.Predictor`
    const Layer* layers;
    Matrix project;              // from the backbone's width; no weight: none
    const Matrix* heads_of;      // [groups - 1]
    const float* norm;
    const float* embedding;      // [groups - 1][vocab][hidden], projected
    int32_t hidden, intermediate, count, heads, kv_heads, head_dim, vocab, groups;
    float eps;
};

struct Scratch {
    float *x, *normed, *wide, *mixed, *keys, *values, *scores;
};

int64_t row_floats(const Predictor& p) {
    const int64_t qkv = (p.heads + 2 * p.kv_heads) * p.head_dim;
    const int64_t wide = std::max<int64_t>({qkv, 2 * p.intermediate, p.vocab});
    const int64_t mixed = std::max<int64_t>(p.heads * p.head_dim, p.intermediate);
    return 2 * p.hidden + wide + mixed + 2ll * p.count * p.groups * p.kv_heads * p.head_dim + p.groups + 8;
}

Scratch split(const Predictor& p, float* from, int rows) {
    Scratch s;
    auto take = [&](int64_t floats) { float* here = from; from += floats * rows; return here; };
    const int64_t qkv = (p.heads + 2 * p.kv_heads) * p.head_dim;
    const int64_t cache = static_cast<int64_t>(p.count) * p.groups * p.kv_heads * p.head_dim;
    s.x = take(p.hidden);
    s.normed = take(p.hidden);
    s.wide = take(std::max<int64_t>({qkv, 2 * p.intermediate, p.vocab}));
    s.mixed = take(std::max<int64_t>(p.heads * p.head_dim, p.intermediate));
    s.keys = take(cache);
    s.values = take(cache);
    s.scores = take(p.groups);
    return s;
}

void norm_rows(const Predictor& p, const float* weight, Scratch& s, int rows) {
    for (int r = 0; r < rows; r++) rms_norm(s.x + r * p.hidden, weight, p.eps, p.hidden, s.normed + r * p.hidden);
}

// Norms and turns a row's queries and keys in place.
void turn(const Predictor& p, const Layer& layer, int position, float* heads) {
    const int turning = p.heads + p.kv_heads, dim = p.head_dim, half = dim / 2;
    const float* cosine = layer.cosine + static_cast<int64_t>(position) * turning * dim;
    const float* sine = layer.sine + static_cast<int64_t>(position) * turning * dim;
    for (int head = 0; head < turning; head++, heads += dim, cosine += dim, sine += dim) {
        rms_norm(heads, nullptr, p.eps, dim, heads);
        for (int i = 0; i < half; i++) {
            const float low = heads[i], high = heads[i + half];
            heads[i] = low * cosine[i] + high * sine[i];
            heads[i + half] = high * cosine[i + half] + low * sine[i + half];
        }
    }
}

void attention(const Predictor& p, int index, int position, Scratch& s, int rows, bool only_keys) {
    const Layer& layer = p.layers[index];
    const int dim = p.head_dim, query = p.heads * dim, key = p.kv_heads * dim, shared = p.heads / p.kv_heads;
    multiply(layer.qkv, s.normed, rows, s.wide);
    for (int r = 0; r < rows; r++) {
        float* heads = s.wide + static_cast<int64_t>(r) * (query + 2 * key);
        turn(p, layer, position, heads);
        const int64_t cache = (static_cast<int64_t>(index) * rows + r) * p.groups * key;
        float *keys = s.keys + cache, *values = s.values + cache;
        std::memcpy(keys + position * key, heads + query, key * sizeof(float));
        std::memcpy(values + position * key, heads + query + key, key * sizeof(float));
        if (only_keys) continue;
        for (int h = 0; h < p.heads; h++) {
            const int at = h / shared * dim;
            attend(heads + h * dim, keys + at, values + at, key, position + 1, dim, s.scores,
                   s.mixed + static_cast<int64_t>(r) * query + h * dim);
        }
    }
    if (!only_keys) multiply(layer.out, s.mixed, rows, s.x, true);
}

// Rows in `x` at `position` through all layers. Of position 0 only the keys and values are needed.
void advance(const Predictor& p, int position, Scratch& s, int rows) {
    for (int index = 0; index < p.count; index++) {
        const Layer& layer = p.layers[index];
        const bool only_keys = position == 0 && index == p.count - 1;
        norm_rows(p, layer.input_norm, s, rows);
        attention(p, index, position, s, rows, only_keys);
        if (only_keys) return;
        norm_rows(p, layer.post_norm, s, rows);
        multiply(layer.gate_up, s.normed, rows, s.wide);
        gate(s.wide, rows, p.intermediate, s.mixed);
        multiply(layer.down, s.mixed, rows, s.x, true);
    }
}

void enter(const Predictor& p, const float* rows_in, Scratch& s, int rows) {
    if (p.project.weight)
        multiply(p.project, rows_in, rows, s.x);
    else
        std::memcpy(s.x, rows_in, sizeof(float) * rows * p.hidden);
}

}  // namespace

extern "C" {

int64_t antiphon_predictor_row_floats(const Predictor* predictor) { return row_floats(*predictor); }

// `hidden`, `code0`: [n][width]; `temperature` to `frame`: [n]; `codes`: [n][groups - 1].
void antiphon_predictor_run(const Predictor* predictor, const float* hidden, const float* code0, int32_t n,
                            const float* temperature, const int64_t* top_k, const float* top_p, const int64_t* seed,
                            const int64_t* frame, int64_t* codes, float* scratch, int32_t threads) {
    const Predictor& p = *predictor;
    const int64_t width = p.project.weight ? p.project.in : p.hidden;
    share_rows(n, threads, [&, n](int begin, int end) {
        const int rows = end - begin, last = p.groups - 1;
        Scratch s = split(p, scratch + begin * row_floats(p), rows);
        enter(p, hidden + begin * width, s, rows);
        advance(p, 0, s, rows);
        enter(p, code0 + begin * width, s, rows);
        for (int group = 1; group <= last; group++) {
            advance(p, group, s, rows);
            norm_rows(p, p.norm, s, rows);
            multiply(p.heads_of[group - 1], s.normed, rows, s.wide);
            for (int r = 0; r < rows; r++) {
                const int row = begin + r;
                const int code = draw(s.wide + static_cast<int64_t>(r) * p.vocab, p.vocab, temperature[row], top_k[row],
                                      top_p[row], noise_key(seed[row], frame[row], group));
                codes[static_cast<int64_t>(row) * last + group - 1] = code;
                if (group < last)
                    std::memcpy(s.x + r * p.hidden, p.embedding + (static_cast<int64_t>(group - 1) * p.vocab + code) * p.hidden,
                                p.hidden * sizeof(float));
            }
        }
    });
}

// Defined by `sampling.draw_code0`. `scores`, which it changes, `seen` and `suppressed`: [n][vocab]; the others: [n].
void antiphon_draw_code0(float* scores, const bool* seen, const bool* suppressed, int32_t vocab, int32_t n,
                         const float* penalty, const float* temperature, const int64_t* top_k, const float* top_p,
                         const int64_t* seed, const int64_t* frame, int64_t* codes) {
    for (int row = 0; row < n; row++, scores += vocab, seen += vocab, suppressed += vocab) {
        for (int code = 0; code < vocab; code++) {
            float score = scores[code];
            if (seen[code]) score = score < 0 ? score * penalty[row] : score / penalty[row];
            scores[code] = suppressed[code] ? -INFINITY : score;
        }
        codes[row] = draw(scores, vocab, temperature[row], top_k[row], top_p[row], noise_key(seed[row], frame[row], 0));
    }
}
}
