// A depthwise convolution, as in layers/convolution.py with as many groups as channels in and out, or
// ReLU of that: each channel is multiplied by a kernel of its own.
//
// Settings: those of windows.h.
#include "../slices.h"
#include "../windows.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Depthwise : Windows<T> {
    using Windows<T>::x, Windows<T>::y, Windows<T>::x_ld, Windows<T>::y_ld, Windows<T>::of_x, Windows<T>::of_y;
    using Windows<T>::relu, Windows<T>::places;
    long W, b;  // b < 0: no bias
    const int64_t *starts, *segments, *back_starts, *back_segments;  // windows and places, in numbers
    bool in_threes, back_in_threes;
    explicit Depthwise(const Record<T>& r)
        : Windows<T>(r), W(r.parameter("W", places.count * y.width)),
          b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), starts(this->scaled(r, this->windows, x_ld)),
          segments(this->scaled(r, places, x_ld)), back_starts(this->scaled(r, this->back_windows, y_ld)),
          back_segments(this->scaled(r, this->back_places, y_ld)) {
        in_threes = are_in_threes(places.count, segments, x_ld);
        back_in_threes = are_in_threes(places.count, back_segments, -y_ld);
        require(x.width == y.width, "a depthwise convolution has as many channels out as in");
    }

    bool normalizes_input() const override { return true; }
    bool normalizes_back() const override { return y.is_packed(); }
    bool shows() const override { return true; }

    long scratch() const override {
        return of_x.positions * x_ld + y.rows * y.width + of_y.positions * y_ld + 3 * MAX_LANES;
    }
    long shared_scratch() const override { return SLICES * slice_size(parameters()); }

    void forward(const Pass<T>& p) override {
        const auto compute = [&](Range rows) { this->compute(p, rows); };
        if (p.shows(y)) p.write_by_groups(y, [&](Range own) { compute({own.from * y.rows, own.to * y.rows}); });
        else compute(p.rows(y));  // which may begin and end within a sample
    }

    void backward(const Pass<T>& p) override {
        T *const padded = p.scratch, *const with = aligned(padded + of_x.positions * x_ld);
        T* const padded_with = aligned(with + y.rows * y.width);
        in_slices(p, x, parameters(), [&](Range samples, T* gradient) {
            for (long sample = samples.from; sample < samples.to; ++sample) {
                const T* const dy = this->derivatives(sample, with);
                const long ld = dy == with ? y.width : y.ld;
                if (this->wants_input) backward_input(p, sample, this->padded_rows(dy, ld, padded_with));
                backward_kernel(this->padded_input(x.value, sample, padded), dy, ld, gradient);
            }
        });
        add_slices(p, parameters(), 0, places.count * y.width, p.g + W);
        if (b >= 0) add_slices(p, parameters(), places.count * y.width, y.width, p.g + b);
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_b = b >= 0 && b <= at && at < b + y.width;
        const long channel = of_b ? at - b : (at - W) % y.width;
        this->add_products(p.samples, of_b ? -1 : (at - W) / y.width, channel, channel, to);
    }

  private:
    static constexpr long TOGETHER = 4;  // outputs that share a weight in a register
    static constexpr long KERNEL = 9;    // places whose gradients fit into registers

    // Whether places come in rows of three, each `step` from the one before.
    static bool are_in_threes(long count, const int64_t* at, long step) {
        for (long k = 0; k < count; ++k)
            if (k % 3 && at[k] - at[k - 1] != step) return false;
        return count % 3 == 0;
    }
    // Adds the products of `count` places with their weights, for several windows at a time. Windows
    // next to each other share what they see of a row of three places, `ld` apart, in descending order if
    // BACK.
    template <bool BACK, class Weight, class Get>
    static INLINE void add_windows(bool adjacent, long first, long count, long ld, const T* const* from, long c,
                                   const int64_t* at, Weight weight, Get get, Vec<T>* sums) {
        if (!adjacent) {
            for (long k = first; k < first + count; ++k) {
                const Vec<T> by = weight(k);
#pragma GCC unroll 4
                for (long i = 0; i < TOGETHER; ++i) sums[i] += get(from[i] + at[k] + c) * by;
            }
            return;
        }
        for (long k = first; k < first + count; k += 3) {
            const T* const lowest = from[0] + at[BACK ? k + 2 : k] + c;
            Vec<T> row[TOGETHER + 2];
#pragma GCC unroll 6
            for (long q = 0; q < TOGETHER + 2; ++q) row[q] = get(lowest + q * ld);
            const Vec<T> by[3] = {weight(k), weight(k + 1), weight(k + 2)};
#pragma GCC unroll 3
            for (long q = 0; q < 3; ++q)
#pragma GCC unroll 4
                for (long i = 0; i < TOGETHER; ++i) sums[i] += row[BACK ? i + 2 - q : i + q] * by[q];
        }
    }

    long parameters() const { return (places.count + (b < 0 ? 0 : 1)) * y.width; }

    void compute(const Pass<T>& p, Range own) const {
        for (long row = own.from, end; row < own.to; row = end) {
            const long sample = row / y.rows;
            end = (sample + 1) * y.rows < own.to ? (sample + 1) * y.rows : own.to;
            const long last = end - sample * y.rows;
            const Range seen = this->seen_by({row % y.rows, last});
            const T* input = this->padded_input(x.value, sample, p.scratch, {0, x.width}, seen);
            T* const to = y.value + sample * y.rows * y.ld;
            const T *w = p.w + W, *bias = b < 0 ? nullptr : p.w + b;
            for (long o = row % y.rows; o < last; o += TOGETHER) {
                const long here = last - o < TOGETHER ? last - o : TOGETHER;
                const T* from[TOGETHER];
                for (long i = 0; i < TOGETHER; ++i) from[i] = input + starts[o + (i < here ? i : 0)];
                over<T>(y.width, [&](long c, auto get, auto put) {
                    Vec<T> sums[TOGETHER];
                    for (long i = 0; i < TOGETHER; ++i) __builtin_prefetch(to + (o + TOGETHER + i) * y.ld + c, 1, 3);
#pragma GCC unroll 4
                    for (long i = 0; i < TOGETHER; ++i) sums[i] = bias ? get(bias + c) : Vec<T>{};
                    const bool adjacent = in_threes && from[TOGETHER - 1] - from[0] == (TOGETHER - 1) * x_ld;
                    add_windows<false>(adjacent, 0, places.count, x_ld, from, c, segments,
                                [&](long k) INLINE_LAMBDA { return get(w + k * y.width + c); }, get, sums);
#pragma GCC unroll 4
                    for (long i = 0; i < TOGETHER; ++i)  // sums stay in registers: no index is unknown
                        if (i < here) put(to + (o + i) * y.ld + c, relu ? Vec<T>(T(0) > sums[i] ? Vec<T>{} : sums[i]) : sums[i]);
                });
            }
        }
    }

    void backward_input(const Pass<T>& p, long sample, const T* dy) const {
        const T* const w = p.w + W;
        T* const dx = x.gradient + sample * x.rows * x.ld;
        this->over_phases([&](Phase phase) INLINE_LAMBDA {
            const long end = phase.first + phase.inputs;
            for (long i = phase.first; i < end; i += TOGETHER) {
                const long here = end - i < TOGETHER ? end - i : TOGETHER;
                const T* from[TOGETHER];
                T* to[TOGETHER];
                for (long j = 0; j < TOGETHER; ++j) {
                    const long input = i + (j < here ? j : 0);
                    from[j] = dy + back_starts[input];
                    to[j] = dx + this->back_inputs.data[input] * x.ld;
                }
                over<T>(x.width, [&](long c, auto get, auto put) INLINE_LAMBDA {
                    Vec<T> sums[TOGETHER] = {};
                    for (long j = 0; j < TOGETHER; ++j) __builtin_prefetch(to[j] + TOGETHER * x.ld + c, 1, 3);
                    const bool adjacent = back_in_threes && from[TOGETHER - 1] - from[0] == (TOGETHER - 1) * y_ld;
                    add_windows<true>(adjacent, phase.place, phase.places, y_ld, from, c, back_segments,
                                [&](long k) INLINE_LAMBDA { return get(w + this->back_kernel.data[k] * y.width + c); },
                                get, sums);
#pragma GCC unroll 4
                    for (long j = 0; j < TOGETHER; ++j)
                        if (j < here) put(to[j] + c, sums[j]);
                });
            }
        });
    }

    // Adds a sample's gradient of the kernel and the bias.
    void backward_kernel(const T* input, const T* dy, long ld, T* dw) const {
        for (long first = 0; first < places.count; first += KERNEL) {
            const long here = places.count - first < KERNEL ? places.count - first : KERNEL;
            long at[KERNEL];
            for (long k = 0; k < KERNEL; ++k) at[k] = segments[first + (k < here ? k : 0)];
            over<T>(y.width, [&](long c, auto get, auto put) {
                Vec<T> sums[KERNEL] = {};
                for (long o = 0; o < y.rows;) {
                    const T* const from = input + starts[o] + c;
                    const bool adjacent = in_threes && here == KERNEL && o + TOGETHER <= y.rows &&
                                          starts[o + TOGETHER - 1] - starts[o] == (TOGETHER - 1) * x_ld;
                    if (!adjacent) {
                        const Vec<T> arriving = get(dy + o++ * ld + c);
#pragma GCC unroll 9
                        for (long k = 0; k < KERNEL; ++k) sums[k] += get(from + at[k]) * arriving;
                        continue;
                    }
                    Vec<T> arriving[TOGETHER], row[TOGETHER + 2];
#pragma GCC unroll 4
                    for (long i = 0; i < TOGETHER; ++i) arriving[i] = get(dy + (o + i) * ld + c);
#pragma GCC unroll 3
                    for (long k = 0; k < KERNEL; k += 3) {
#pragma GCC unroll 6
                        for (long q = 0; q < TOGETHER + 2; ++q) row[q] = get(from + at[k] + q * x_ld);
#pragma GCC unroll 4
                        for (long i = 0; i < TOGETHER; ++i)
#pragma GCC unroll 3
                            for (long q = 0; q < 3; ++q) sums[k + q] += row[i + q] * arriving[i];
                    }
                    o += TOGETHER;
                }
#pragma GCC unroll 9
                for (long k = 0; k < KERNEL; ++k) {
                    if (k >= here) break;
                    T* const to = dw + (first + k) * y.width + c;
                    put(to, get(to) + sums[k]);
                }
            });
        }
        if (b < 0) return;
        T* const db = dw + places.count * y.width;
        for (long o = 0; o < y.rows; ++o)
            over<T>(y.width, [&](long c, auto get, auto put) { put(db + c, get(db + c) + get(dy + o * ld + c)); });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(depthwise, Depthwise)
