// A convolution of few channels on few positions, where a row of a matrix would not fill a vector, and
// much of a kernel lies on padding. Each lane of a vector has another sample, and the places of the
// kernel that lie on padding are left out. Forward, an output is the same chain of fused
// multiply-adds as in conv.h.
//
// Settings: those of conv.h.
#include "../conv.h"
#include "../lanes.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct LaneConv final : Conv<T> {
    using Conv<T>::x, Conv<T>::y, Conv<T>::in, Conv<T>::out, Conv<T>::b, Conv<T>::relu, Conv<T>::places;
    static constexpr long LANES = WIDTH<T>;
    static constexpr long MOST = 32 * 1024;  // numbers of samples in lanes: they stay in a core's cache
    // Channels whose sums are in registers at a time; and of inputs, for the kernel's gradient.
    static constexpr int OUT = 8;
#if defined(CHAINRULE_512)
    static constexpr int IN = 2;
#else
    static constexpr int IN = 1;
#endif
    long x_size, y_size;  // numbers of a sample
    long x_room, y_room;  // numbers of a block of samples in lanes
    Meetings of_output, of_input, of_place;

    explicit LaneConv(const Record<T>& r)
        : Conv<T>(r), x_size(x.rows * x.ld), y_size(y.rows * y.ld), x_room(room_for<T>(x_size)),
          y_room(room_for<T>(y_size)) {
        require(this->groups == 1, "channels are not in groups");
        const int64_t* const input_at = inputs(r);
        const auto input = [&](long o, long k) { return input_at[this->windows.data[o] + places.data[k]]; };
        const auto meet = [&](auto f) {
            for (long o = 0; o < y.rows; ++o)
                for (long k = 0; k < places.count; ++k)
                    if (const int64_t i = input(o, k); i >= 0) f(o, k, i);
        };
        of_output = meetings(r, y.rows, [&](auto f) { meet([&](long o, long k, long i) { f(o, i, k); }); });
        of_input = meetings(r, x.rows, [&](auto f) { meet([&](long o, long k, long i) { f(i, o, k); }); });
        of_place = meetings(r, places.count, [&](auto f) { meet([&](long o, long k, long i) { f(k, o, i); }); });
    }

    bool shows() const override { return false; }
    long shared_scratch() const override { return SLICES * slice_size(this->parameters()); }

    long scratch() const override {
        const long of_lanes = blocks_at_a_time() * (x_room + y_room) + x_room + places.count * in * out;
        return of_lanes > Conv<T>::scratch() ? of_lanes : Conv<T>::scratch();
    }

    void forward(const Pass<T>& p) override {
        if (2 * p.samples < LANES) return Conv<T>::forward(p);
        T *const input = p.scratch, *const output = input + x_room;
        const T *const w = p.w + this->W, *const bias = b < 0 ? nullptr : p.w + b;
        over_blocks(p.share(blocks(p) * y.rows, 1), y.rows, [&](long block, Range own) INLINE_LAMBDA {
            read_input(p, block, input);
            for (long o = own.from; o < own.to; ++o)
                in_pieces<OUT>(0, out, [&](auto size, long n) INLINE_LAMBDA {
                    constexpr int N = decltype(size)::value;
                    Vec<T> sums[N];
                    for (int j = 0; j < N; ++j) sums[j] = bias ? broadcast(bias[n + j]) : Vec<T>{};
                    of_output.at(o, [&](long i, long k) INLINE_LAMBDA {
                        const T *at = input + i * x.ld * LANES, *weights = w + k * in * out + n;
                        for (long c = 0; c < in; ++c, at += LANES, weights += out)
                            add_scaled<N>(load(at), weights, sums);
                    });
                    T* const to = output + ((o - own.from) * y.ld + n) * LANES;
                    for (int j = 0; j < N; ++j) store(to + j * LANES, relu ? relu_of(sums[j]) : sums[j]);
                });
            from_lanes(output, own.from * y.ld, own.count() * y.ld, y.value, block * LANES, p.samples, y_size);
        });
    }

    // As in slices.h, but slices have whole blocks of samples, and there are no more of them than blocks.
    void backward(const Pass<T>& p) override {
        T *const inputs = p.scratch, *const derivatives = inputs + blocks_at_a_time() * x_room;
        T *const result = derivatives + blocks_at_a_time() * y_room, *const transposed = result + x_room;
        if (this->wants_input) transpose_kernel(p.w + this->W, transposed);
        const long count = blocks(p), slices = count < SLICES ? count : SLICES;
        const Range own = p.share(slices, 1);
        for (long slice = own.from; slice < own.to; ++slice) {
            T* const gradient = p.shared + slice * slice_size(this->parameters());
            const long begin = count * slice / slices, end = count * (slice + 1) / slices;
            for (long first = begin, here; first < end; first += here) {
                here = end - first < blocks_at_a_time() ? end - first : blocks_at_a_time();
                for (long block = 0; block < here; ++block) {
                    read_input(p, first + block, inputs + block * x_room);
                    read_derivatives(p, first + block, derivatives + block * y_room);
                    if (this->wants_input)
                        backward_input(p, first + block, derivatives + block * y_room, transposed, result);
                }
                backward_kernel(gradient, first > begin, here, inputs, derivatives);
            }
        }
        p.wait();
        const long weights = places.count * in * out;
        add_slices(p, this->parameters(), 0, weights, p.g + this->W, slices);
        if (b >= 0) add_slices(p, this->parameters(), weights, out, p.g + b, slices);
    }

  private:
    static INLINE Vec<T> relu_of(Vec<T> v) { return T(0) > v ? Vec<T>{} : v; }
    template <int N> static INLINE void add_scaled(Vec<T> by, const T* weights, Vec<T>* sums) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) sums[j] += broadcast(weights[j]) * by;
    }

    long blocks(const Pass<T>& p) const { return (p.samples + LANES - 1) / LANES; }
    long blocks_at_a_time() const { return x_room + y_room < MOST ? MOST / (x_room + y_room) : 1; }
    // Calls f(block, positions) for a share of the positions of all blocks.
    template <class F> INLINE void over_blocks(Range own, long positions, F f) const {
        for (long at = own.from, end; at < own.to; at = end) {
            const long block = at / positions, from = block * positions;
            end = from + positions < own.to ? from + positions : own.to;
            f(block, Range{at - from, end - from});
        }
    }

    // The input at each position of the padded one; -1: padding.
    int64_t* inputs(const Record<T>& r) const {
        int64_t* const at = this->integers(r, this->of_x.positions);
        for (long k = 0; k < this->of_x.positions; ++k) at[k] = this->of_x.is_needed() ? -1 : k;
        for (long k = 0; k < this->of_x.from.count; ++k)
            for (long j = 0; j < this->of_x.run; ++j) at[this->of_x.to.data[k] + j] = this->of_x.from.data[k] + j;
        return at;
    }
    // Of what `each` calls its argument with: f(position, a, b).
    template <class F> Meetings meetings(const Record<T>& r, long positions, F each) const {
        int64_t* const first = this->integers(r, positions + 1);
        for (long k = 0; k <= positions; ++k) first[k] = 0;
        each([&](long k, long, long) { ++first[k + 1]; });
        for (long k = 0; k < positions; ++k) first[k + 1] += first[k];
        int64_t* const pairs = this->integers(r, 2 * first[positions]);
        each([&](long k, long a, long b) {
            pairs[2 * first[k]] = a;
            pairs[2 * first[k]++ + 1] = b;
        });
        for (long k = positions; k > 0; --k) first[k] = first[k - 1];
        first[0] = 0;
        return {first, pairs};
    }

    void read_input(const Pass<T>& p, long block, T* to) const {
        to_lanes(x.value, block * LANES, p.samples, x_size,
                 [=](long k, Vec<T> v) INLINE_LAMBDA { store(to + k * LANES, v); });
        if (!x.normalization) return;
        const Normalization<T>& as = *x.normalization;
        for (long i = 0; i < x.rows; ++i)
            for (long c = 0; c < in; ++c) {
                T* const at = to + (i * x.ld + c) * LANES;
                const Vec<T> v = as.times[c] * ((load(at) - as.mean[c]) * as.by[c]) + as.plus[c];
                store(at, as.relu ? relu_of(v) : v);
            }
    }
    // dy, times the slope of a fused ReLU.
    void read_derivatives(const Pass<T>& p, long block, T* to) const {
        to_lanes(y.gradient, block * LANES, p.samples, y_size,
                 [=](long k, Vec<T> v) INLINE_LAMBDA { store(to + k * LANES, v); });
        if (!relu) return;
        to_lanes(y.value, block * LANES, p.samples, y_size, [=](long k, Vec<T> v) INLINE_LAMBDA {
            store(to + k * LANES, v > T(0) ? load(to + k * LANES) : Vec<T>{});
        });
    }

    void transpose_kernel(const T* w, T* to) const {
        for (long k = 0; k < places.count; ++k)
            for (long c = 0; c < in; ++c)
                for (long n = 0; n < out; ++n) to[(k * out + n) * in + c] = w[(k * in + c) * out + n];
    }

    void backward_input(const Pass<T>& p, long block, const T* dy, const T* transposed, T* result) const {
        for (long i = 0; i < x.rows; ++i)
            in_pieces<OUT>(0, in, [&](auto size, long c) INLINE_LAMBDA {
                constexpr int N = decltype(size)::value;
                Vec<T> sums[N] = {};
                of_input.at(i, [&](long o, long k) INLINE_LAMBDA {
                    const T *at = dy + o * y.ld * LANES, *weights = transposed + k * out * in + c;
                    for (long n = 0; n < out; ++n, at += LANES, weights += in)
                        add_scaled<N>(load(at), weights, sums);
                });
                T* const to = result + (i * x.ld + c) * LANES;
                for (int j = 0; j < N; ++j) store(to + j * LANES, sums[j]);
            });
        from_lanes(result, 0, x_size, x.gradient, block * LANES, p.samples, x_size);
    }

    // The gradients of W and then of b, of some blocks of samples.
    void backward_kernel(T* gradient, bool accumulate, long count, const T* inputs, const T* derivatives) const {
        const auto put = [=](const T* sums, long size, T* to) INLINE_LAMBDA {
            for (long j = 0; j < size; ++j) to[j] = accumulate ? to[j] + sums[j] : sums[j];
        };
        for (long k = 0; k < places.count; ++k)
            in_pieces<IN>(0, in, [&](auto rows, long c) INLINE_LAMBDA {
                in_pieces<OUT>(0, out, [&](auto columns, long n) INLINE_LAMBDA {
                    constexpr int M = decltype(rows)::value, N = decltype(columns)::value;
                    Vec<T> sums[M * N] = {};
                    for (long block = 0; block < count; ++block)
                        of_place.at(k, [&](long o, long i) INLINE_LAMBDA {
                            const T* const xs = inputs + block * x_room + (i * x.ld + c) * LANES;
                            const T* const dys = derivatives + block * y_room + (o * y.ld + n) * LANES;
#pragma GCC unroll 8
                            for (int j = 0; j < N; ++j)
#pragma GCC unroll 3
                                for (int m = 0; m < M; ++m)
                                    sums[m * N + j] += load(xs + m * LANES) * load(dys + j * LANES);
                        });
                    T totals[M * N];
                    sums_of<T, M * N>(sums, totals);
                    for (int m = 0; m < M; ++m) put(totals + m * N, N, gradient + (k * in + c + m) * out + n);
                });
            });
        if (b >= 0) in_pieces<OUT>(0, out, [&](auto size, long n) INLINE_LAMBDA {
            constexpr int N = decltype(size)::value;
            Vec<T> sums[N] = {};
            for (long block = 0; block < count; ++block)
                for (long o = 0; o < y.rows; ++o)
                    for (int j = 0; j < N; ++j)
                        sums[j] += load(derivatives + block * y_room + (o * y.ld + n + j) * LANES);
            T totals[N];
            sums_of<T, N>(sums, totals);
            put(totals, N, gradient + places.count * in * out + n);
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(lane_conv, LaneConv)
