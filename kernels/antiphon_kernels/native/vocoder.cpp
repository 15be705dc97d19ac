// One frame of each stream through the vocoder in float32, in its slots' own state. Defined by `StreamingCode2Wav`.

#include <algorithm>

#include "matrix.h"
#include "rows.h"

namespace {

enum Kind : int32_t { CONV = 0, CONVNEXT = 1, UNIT_FIRST = 2, UNIT_SECOND = 3 };

// An activation and a convolution, whose input is `steps` rows a frame. Channels are padded to a multiple of 8 with
// zeros, except in `tails`. CONVNEXT: a convolution by channel, and the rest of its block. UNIT_FIRST and UNIT_SECOND:
// a residual unit. Mirrored by `library.Stage`.
struct Stage {
    Matrix conv, widen, narrow;
    const float *rate, *gain;  // of the activation, or null
    const float *norm_weight, *norm_bias, *gamma;
    int64_t tail_offset;
    int32_t tail_steps, tail_channels, lead_in, steps, kind;
};

struct Layer {  // `library.VocoderLayer`
    Matrix qkv, out, gate_up, down;
    const float *input_norm, *post_norm, *attention_scale, *mlp_scale;
};

struct Vocoder {  // `library.Vocoder`
    const Layer* layers;
    const Stage* stages;
    const float *embedding, *norm;
    const double* frequencies;
    float *tails, *rings;  // [slots][tail_floats]; [slots][ring][count][2][kv_heads][head_dim]
    int64_t* positions;
    int64_t tail_floats, row_floats;
    int32_t codebook, groups, hidden, intermediate, count, heads, kv_heads, head_dim, ring, stage_count, shared_stages;
    float eps;
};

// Rows of a call that have a slot, `row_floats` of each of the scratches for each.
struct Batch {
    const Vocoder& v;
    const int32_t* row;
    const int64_t* slots;
    int count;
    float *x, *y, *window;

    int64_t slot(int i) const { return slots[row[i]]; }
    Batch one(int i) const {
        const int64_t at = i * v.row_floats;
        return {v, row + i, slots, 1, x + at, y + at, window + at};
    }
};

void snake(const float* x, const float* rate, const float* gain, int rows, int channels, float* y) {
    for (int r = 0; r < rows; r++, x += channels, y += channels) {
        int c = 0;
        for (; c + WIDTH <= channels; c += WIDTH) {
            auto value = load<WIDTH>(x + c);
            store<WIDTH>(y + c, value + load<WIDTH>(gain + c) * sine_squared(value * load<WIDTH>(rate + c)));
        }
        for (; c < channels; c += 8) {
            auto value = load<8>(x + c);
            store<8>(y + c, value + load<8>(gain + c) * sine_squared(value * load<8>(rate + c)));
        }
    }
}

// [tail | activated input] of stream i; its end becomes the next tail.
const float* fill_window(const Batch& b, const Stage& s, int i, const float* x, float* window) {
    const int channels = s.conv.in, kept = s.tail_channels;
    float* tail = b.v.tails + b.slot(i) * b.v.tail_floats + s.tail_offset;
    for (int t = 0; t < s.tail_steps; t++) {
        std::memset(window + t * channels, 0, channels * sizeof(float));
        std::memcpy(window + t * channels, tail + t * kept, kept * sizeof(float));
    }
    float* fresh = window + s.tail_steps * channels;
    if (s.rate)
        snake(x, s.rate, s.gain, s.steps, channels, fresh);
    else
        std::memcpy(fresh, x, sizeof(float) * s.steps * channels);
    if (b.v.positions[b.slot(i)] == 0) std::memset(fresh, 0, sizeof(float) * s.lead_in * channels);
    const float* end = window + s.steps * channels;
    for (int t = 0; t < s.tail_steps; t++) std::memcpy(tail + t * kept, end + t * channels, kept * sizeof(float));
    return window;
}

void by_channel(const Matrix& m, const float* window, int steps, float* y) {
    for (int t = 0; t < steps; t++)
        for (int c = 0; c < m.in; c += 8) {
            auto sum = load<8>(m.bias + c);
            for (int k = 0; k < m.taps; k++)
                sum += load<8>(window + (t + k) * m.in + c) * load<8>(m.weight + k * m.in + c);
            store<8>(y + t * m.in + c, sum);
        }
}

void convnext(const Batch& b, const Stage& s, float* x, float* y) {
    const int channels = s.conv.in, rows = b.count * s.steps;
    for (int i = 0; i < b.count; i++) {
        const int at = i * s.steps * channels;
        by_channel(s.conv, fill_window(b, s, i, x + at, b.window), s.steps, y + at);
    }
    for (int r = 0; r < rows; r++) layer_norm(y + r * channels, s.norm_weight, s.norm_bias, 1e-6f, channels);
    multiply(s.widen, y, rows, b.window);
    gelu(b.window, static_cast<int64_t>(rows) * s.widen.out);
    multiply(s.narrow, b.window, rows, y);
    for (int r = 0; r < rows; r++) add_product(x + r * channels, y + r * channels, s.gamma, channels);
}

// x and y hold the rows of all streams, one after the other; the output is in x.
void run_stages(Batch& b, int begin, int end) {
    for (const Stage* s = b.v.stages + begin; s < b.v.stages + end; s++) {
        if (s->kind == CONVNEXT) {
            convnext(b, *s, b.x, b.y);
            continue;
        }
        const int in = s->steps * s->conv.in, out = s->steps * s->conv.out;
        const bool second = s->kind == UNIT_SECOND;
        for (int i = 0; i < b.count; i++) {
            const float* window = fill_window(b, *s, i, (second ? b.y : b.x) + i * in, b.window);
            multiply(s->conv, window, s->steps, (second ? b.x : b.y) + i * out, second);
        }
        if (s->kind == CONV) std::swap(b.x, b.y);
    }
}

void embed(const Batch& b, const int64_t* codes) {
    const Vocoder& v = b.v;
    for (int i = 0; i < b.count; i++) {
        float* x = b.x + i * v.hidden;
        std::memset(x, 0, v.hidden * sizeof(float));
        for (int g = 0; g < v.groups; g++) {
            const int64_t code = std::clamp<int64_t>(codes[b.row[i] * v.groups + g], 0, v.codebook - 1);
            add_scaled(x, v.embedding + (g * v.codebook + code) * v.hidden, 1.0f, v.hidden);
        }
        for (int c = 0; c < v.hidden; c++) x[c] /= v.groups;
    }
}

// Turns `heads` heads in place by a stream's frame number.
void turn(const Vocoder& v, int64_t position, float* x, int heads) {
    const int half = v.head_dim / 2;
    for (int i = 0; i < half; i++) {
        const float angle = static_cast<float>(std::fmod(position * v.frequencies[i], 6.283185307179586));
        const float cosine = std::cos(angle), sine = std::sin(angle);
        for (int h = 0; h < heads; h++) {
            float *low = x + h * v.head_dim + i, *high = low + half;
            const float before = *low;
            *low = before * cosine - *high * sine;
            *high = *high * cosine + before * sine;
        }
    }
}

void attention(const Batch& b, int index, const float* qkv, float* mixed) {
    const Vocoder& v = b.v;
    const int dim = v.head_dim, query = v.heads * dim, key = v.kv_heads * dim, width = query + 2 * key;
    const int64_t frame = 2ll * v.count * key;
    std::vector<float> scores(v.ring + 1), heads(width), keys((v.ring + 1) * 2 * key);
    for (int i = 0; i < b.count; i++) {
        const int64_t position = v.positions[b.slot(i)];
        std::copy_n(qkv + static_cast<int64_t>(i) * width, width, heads.begin());
        turn(v, position, heads.data(), v.heads + v.kv_heads);
        float* ring = v.rings + b.slot(i) * v.ring * frame + index * 2 * key;
        const int past = static_cast<int>(std::min<int64_t>(position, v.ring));
        for (int f = 0; f < past; f++) std::copy_n(ring + f * frame, 2 * key, keys.data() + f * 2 * key);
        float* own = keys.data() + past * 2 * key;
        std::copy_n(heads.data() + query, 2 * key, own);
        for (int h = 0; h < v.heads; h++) {
            const float* at = keys.data() + h / (v.heads / v.kv_heads) * dim;
            attend(heads.data() + h * dim, at, at + key, 2 * key, past + 1, dim, scores.data(),
                   mixed + static_cast<int64_t>(i) * query + h * dim);
        }
        std::copy_n(own, 2 * key, ring + position % v.ring * frame);
    }
}

void transform(Batch& b) {
    const Vocoder& v = b.v;
    float *x = b.x, *normed = b.y, *wide = b.window, *mixed = b.y;
    auto add = [&](const float* from, const float* scale) {
        for (int i = 0; i < b.count; i++) add_product(x + i * v.hidden, from + i * v.hidden, scale, v.hidden);
    };
    auto norm = [&](const float* weight, float* to) {
        for (int i = 0; i < b.count; i++) rms_norm(x + i * v.hidden, weight, v.eps, v.hidden, to + i * v.hidden);
    };
    for (int index = 0; index < v.count; index++) {
        const Layer& layer = v.layers[index];
        norm(layer.input_norm, normed);
        multiply(layer.qkv, normed, b.count, wide);
        attention(b, index, wide, mixed);
        multiply(layer.out, mixed, b.count, wide);
        add(wide, layer.attention_scale);
        norm(layer.post_norm, normed);
        multiply(layer.gate_up, normed, b.count, wide);
        gate(wide, b.count, v.intermediate, mixed);
        multiply(layer.down, mixed, b.count, wide);
        add(wide, layer.mlp_scale);
    }
    norm(v.norm, x);
}

// The last stage has one channel in a row of 8.
void give_sound(const Batch& b, float* sound, int64_t samples) {
    for (int64_t t = 0; t < samples; t++) {
        const float value = b.x[t * 8];
        sound[t] = value < -1.0f ? -1.0f : value > 1.0f ? 1.0f : value;
    }
}

}  // namespace

extern "C" {

// `codes`: [n][groups]; `slots`: [n], distinct except for 0, whose rows give silence; `sound`: [n][samples].
// `scratch`: n * 3 * row_floats.
void antiphon_vocoder_run(const Vocoder* vocoder, const int64_t* codes, const int64_t* slots, int32_t n, float* sound,
                          int64_t samples, float* scratch, int32_t threads) {
    const Vocoder& v = *vocoder;
    std::vector<int32_t> rows;
    for (int32_t i = 0; i < n; i++)
        if (slots[i]) rows.push_back(i);
    std::memset(sound, 0, sizeof(float) * n * samples);
    share_rows(static_cast<int>(rows.size()), threads, [&](int begin, int end) {
        const int64_t size = v.row_floats * (end - begin);
        float* from = scratch + 3 * v.row_floats * begin;
        Batch b{v, rows.data() + begin, slots, end - begin, from, from + size, from + 2 * size};
        embed(b, codes);
        transform(b);
        run_stages(b, 0, v.shared_stages);
        // The later stages are long: one stream at a time stays in the cache.
        const Stage& next = v.stages[v.shared_stages];
        const int64_t floats = static_cast<int64_t>(next.steps) * next.conv.in;
        for (int i = b.count - 1; i > 0; i--)
            std::memmove(b.x + i * v.row_floats, b.x + i * floats, floats * sizeof(float));
        for (int i = 0; i < b.count; i++) {
            Batch one = b.one(i);
            run_stages(one, v.shared_stages, v.stage_count);
            give_sound(one, sound + one.row[0] * samples, samples);
            v.positions[one.slot(0)]++;
        }
    });
}
}
