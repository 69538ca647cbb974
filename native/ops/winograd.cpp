// A convolution by kernels of 3 x 3 with stride 1, as in layers/convolution.py, or ReLU of that, with
// less than half of the multiplications: F(2 x 2, 3 x 3) (Winograd, 1980; Lavin and Gray, 2016).
//
// Each block of 2 x 2 outputs depends on a tile of 4 x 4 inputs. In another basis the convolution of
// a tile is a product at each of 16 places, which is a product of matrices over all tiles and
// channels: y = A' [(G w G') * (B' x B)] A. The derivatives are the same formula, transposed:
// dx = B [(G w G') * (A dy A')] B' and dw = G' [(B' x B) * (A dy A')] G, summed over tiles.
//
// Settings: height, width: of the input; above, left: its padding; rows, columns: of the output;
// relu: whether a ReLU is fused; sliced: whether each slice of a mini-batch has a gradient of its own.
#include <cstring>

#include "../product.h"
#include "../slices.h"
#include "../windows.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int PLACES = 16;

// The rows of B', of B and of A, applied to vectors.
template <class V> INLINE void by_input(V x0, V x1, V x2, V x3, V* out) {
    out[0] = x0 - x2;
    out[1] = x1 + x2;
    out[2] = x2 - x1;
    out[3] = x1 - x3;
}
template <class V> INLINE void back_to_input(V p0, V p1, V p2, V p3, V* out) {
    out[0] = p0;
    out[1] = p1 - p2 + p3;
    out[2] = p1 + p2 - p0;
    out[3] = -p3;
}
template <class V> INLINE void by_output(V y0, V y1, V* out) {
    out[0] = y0;
    out[1] = y0 + y1;
    out[2] = y0 - y1;
    out[3] = -y1;
}

// A matrix for each place: `ld` numbers from one row to the next, `step` from one place to the next.
template <class T> struct Places {
    T* at;
    long ld, step;
    INLINE T* row(int place, long row) const { return at + place * step + row * ld; }
};

// The tiles of a picture, in rows; those at its lower and right edge may lie partly outside.
struct Tiles {
    long down, across;
    INLINE long count() const { return down * across; }
    INLINE long rows() const { return 2 * down + 2; }
    INLINE long columns() const { return 2 * across + 2; }
};

// U = G w G', for w of shape (3, 3, channels, units).
template <class T> void kernel_to_places(long channels, long units, const T* w, Places<T> u) {
    typedef Vec<T> V;
    for (long c = 0; c < channels; ++c)
        over<T>(units, [&](long n, auto get, auto) {
            V by_rows[4][3];
            for (int s = 0; s < 3; ++s) {
                const T* at = w + (s * channels + c) * units + n;
                const V top = get(at), middle = get(at + 3 * channels * units), bottom = get(at + 6 * channels * units);
                by_rows[0][s] = top;
                by_rows[1][s] = (top + bottom + middle) * T(0.5);
                by_rows[2][s] = (top + bottom - middle) * T(0.5);
                by_rows[3][s] = bottom;
            }
            for (int i = 0; i < 4; ++i) {
                const V *g = by_rows[i], outer = g[0] + g[2];
                store(u.row(4 * i, c) + n, g[0]);
                store(u.row(4 * i + 1, c) + n, (outer + g[1]) * T(0.5));
                store(u.row(4 * i + 2, c) + n, (outer - g[1]) * T(0.5));
                store(u.row(4 * i + 3, c) + n, g[2]);
            }
        });
}

// dw = G' U G, of some channels.
template <class T> void places_to_kernel(long channels, Range own, long units, Places<T> u, T* w, long w_row) {
    typedef Vec<T> V;
    for (long c = own.from; c < own.to; ++c)
        over<T>(units, [&](long n, auto, auto put) {
            V by_rows[4][3];
            for (int i = 0; i < 4; ++i) {
                const V p0 = load(u.row(4 * i, c) + n), p1 = load(u.row(4 * i + 1, c) + n);
                const V p2 = load(u.row(4 * i + 2, c) + n), p3 = load(u.row(4 * i + 3, c) + n);
                by_rows[i][0] = p0 + (p1 + p2) * T(0.5);
                by_rows[i][1] = (p1 - p2) * T(0.5);
                by_rows[i][2] = (p1 + p2) * T(0.5) + p3;
            }
            for (int s = 0; s < 3; ++s) {
                const V p0 = by_rows[0][s], p1 = by_rows[1][s], p2 = by_rows[2][s], p3 = by_rows[3][s];
                T* at = w + (s * channels + c) * w_row + n;
                put(at, p0 + (p1 + p2) * T(0.5));
                put(at + 3 * channels * w_row, (p1 - p2) * T(0.5));
                put(at + 6 * channels * w_row, (p1 + p2) * T(0.5) + p3);
            }
        });
}

// B' x B of tiles [from, to); x has whole vectors of channels.
template <class T> void input_to_places(Tiles tiles, long from, long to, long channels, const T* x, Places<T> places) {
    typedef Vec<T> V;
    const long row = tiles.columns() * channels;
    for (long tile = from; tile < to; ++tile) {
        const T* corner = x + 2 * (tile / tiles.across) * row + 2 * (tile % tiles.across) * channels;
        for (long c = 0; c < channels; c += WIDTH<T>) {
            V by_rows[4][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                const T* at = corner + j * channels + c;
                by_input(load(at), load(at + row), load(at + 2 * row), load(at + 3 * row), by_rows[j]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                V out[4];
                by_input(by_rows[0][i], by_rows[1][i], by_rows[2][i], by_rows[3][i], out);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) store(places.row(4 * i + j, tile - from) + c, out[j]);
            }
        }
    }
}

// dx += B places B'.
template <class T>
void places_to_input(Tiles tiles, long from, long to, long channels, Places<T> places, T* dx) {
    typedef Vec<T> V;
    const long row = tiles.columns() * channels;
    for (long tile = from; tile < to; ++tile) {
        T* corner = dx + 2 * (tile / tiles.across) * row + 2 * (tile % tiles.across) * channels;
        for (long c = 0; c < channels; c += WIDTH<T>) {
            V by_rows[4][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                const T* p = places.row(j, tile - from) + c;
                back_to_input(load(p), load(p + 4 * places.step), load(p + 8 * places.step),
                              load(p + 12 * places.step), by_rows[j]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                V out[4];
                back_to_input(by_rows[0][i], by_rows[1][i], by_rows[2][i], by_rows[3][i], out);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) {
                    T* at = corner + i * row + j * channels + c;
                    store(at, load(at) + out[j]);
                }
            }
        }
    }
}

// A picture of outputs: `ld` numbers from one position to the next.
template <class T> struct Outputs {
    T* at;
    long rows, columns, ld;
};

// y = A' places A + b, or ReLU of that.
template <class T>
void places_to_output(Tiles tiles, long from, long to, long units, Places<T> places, const T* b, bool relu,
                      Outputs<T> y) {
    typedef Vec<T> V;
    for (long tile = from; tile < to; ++tile) {
        const long row = 2 * (tile / tiles.across), column = 2 * (tile % tiles.across);
        T* corner = y.at + (row * y.columns + column) * y.ld;
        const bool below = row + 1 < y.rows, right = column + 1 < y.columns;
        over<T>(units, [&](long n, auto get, auto put) {
            V upper[4], lower[4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                const T* p = places.row(j, tile - from) + n;
                const V p1 = load(p + 4 * places.step), p2 = load(p + 8 * places.step);
                upper[j] = load(p) + p1 + p2;
                lower[j] = p1 - p2 - load(p + 12 * places.step);
            }
            const V plus = b ? get(b + n) : V{};
            const auto finish = [&](T* to, const V* p) INLINE_LAMBDA {
                V left = p[0] + p[1] + p[2] + plus, next = p[1] - p[2] - p[3] + plus;
                if (relu) {
                    left = T(0) > left ? V{} : left;
                    next = T(0) > next ? V{} : next;
                }
                put(to + n, left);
                if (right) put(to + y.ld + n, next);
            };
            finish(corner, upper);
            if (below) finish(corner + y.columns * y.ld, lower);
        });
    }
}

// A dy A'; with `y`, the ReLU's outputs, of dy times the ReLU's slope.
template <class T>
void output_to_places(Tiles tiles, long from, long to, long units, Outputs<const T> dy, const T* y, Places<T> places) {
    typedef Vec<T> V;
    for (long tile = from; tile < to; ++tile) {
        const long row = 2 * (tile / tiles.across), column = 2 * (tile % tiles.across);
        const long corner = (row * dy.columns + column) * dy.ld, down = dy.columns * dy.ld;
        const bool below = row + 1 < dy.rows, right = column + 1 < dy.columns;
        over<T>(units, [&](long n, auto get, auto) {
            const auto arriving = [&](long at) INLINE_LAMBDA {
                const V d = get(dy.at + at + n);
                return y ? V(get(y + at + n) > T(0) ? d : V{}) : d;
            };
            const V first = arriving(corner), second = right ? arriving(corner + dy.ld) : V{};
            const V third = below ? arriving(corner + down) : V{};
            const V fourth = below && right ? arriving(corner + down + dy.ld) : V{};
            V left[4], next[4], out[4];
            by_output(first, third, left);
            by_output(second, fourth, next);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                by_output(left[i], next[i], out);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) store(places.row(4 * i + j, tile - from) + n, out[j]);
            }
        });
    }
}

template <class T> INLINE long whole_vectors(long count) { return (count + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T>; }

template <class T> struct Winograd : Operation<T> {
    const Value<T>&x, &y;
    long channels, units, W, b;  // b < 0: no bias
    long height, width, above, left, rows, columns;
    bool relu, wants_input, sliced;
    Tiles tiles;
    long x_ld, y_ld;   // channels and units in whole vectors
    long at_a_time;    // tiles
    explicit Winograd(const Record<T>& r)
        : x(r.input()), y(r.output()), channels(x.width), units(y.width),
          W(r.parameter("W", 9 * x.width * y.width)), b(r.has_parameter("b") ? r.parameter("b", y.width) : -1),
          height(long(r.number("height"))), width(long(r.number("width"))), above(long(r.number("above"))),
          left(long(r.number("left"))), rows(long(r.number("rows"))), columns(long(r.number("columns"))),
          relu(r.flag("relu")), wants_input(r.wants()), sliced(r.flag("sliced")), tiles{(rows + 1) / 2, (columns + 1) / 2},
          x_ld(whole_vectors<T>(channels)), y_ld(whole_vectors<T>(units)) {
        require(height * width == x.rows && rows * columns == y.rows && rows > 0 && columns > 0,
                "the values have other positions");
        require(0 <= above && 0 <= left && above < 3 && left < 3, "more padding than a kernel of 3 x 3 can use");
        // so many that their places fit into half of a core's L2 cache
        const long most = PART / (PLACES * (x_ld + y_ld));
        at_a_time = most < 28 ? 28 : most > 56 ? 56 : most;
    }

    long scratch() const override {
        const long forward = picture() + prepared_size() + PLACES * at_a_time * (x_ld + y_ld);
        const long backward = 2 * picture() + (9 + PLACES) * units * x_ld + PLACES * at_a_time * (2 * x_ld + y_ld);
        const long kernel = picture() + prepared_size() + PLACES * at_a_time * (x_ld + y_ld);
        const long most = forward > kernel ? forward : kernel;
        return most > backward ? most : backward;
    }
    long shared_scratch() const override { return sliced ? SLICES * slice_size(parameters()) : 0; }

    bool normalizes_input() const override { return true; }
    bool shows() const override { return true; }

    // The kernel at its places.
    long prepared_size() const override { return PLACES * channels * y_ld; }
    void prepare(const T* w, T* to) const override {
        kernel_to_places<T>(channels, units, w + W, {to, y_ld, channels * y_ld});
    }

    void forward(const Pass<T>& p) override {
        T *const padded = p.scratch, *const own_u = padded + picture();
        const Places<const T> u{p.prepared ? p.prepared : own_u, y_ld, channels * y_ld};
        const Places<T> from_x{own_u + prepared_size(), x_ld, at_a_time * x_ld};
        const Places<T> to_y{from_x.at + PLACES * from_x.step, y_ld, at_a_time * y_ld};
        if (!p.prepared) prepare(p.w, own_u);
        const auto compute = [&](Range own) {
            for (long tile = own.from, pieces; tile < own.to; tile += pieces) {
                const long sample = tile / tiles.count(), first = tile % tiles.count();
                pieces = tiles.count() - first < own.to - tile ? tiles.count() - first : own.to - tile;
                const T* input = laid_out(sample, padded);
                const Outputs<T> output{y.value + sample * y.rows * y.ld, rows, columns, y.ld};
                for (long from = first, to; from < first + pieces; from = to) {
                    to = from + at_a_time < first + pieces ? from + at_a_time : first + pieces;
                    input_to_places(tiles, from, to, x_ld, input, from_x);
                    for (int place = 0; place < PLACES; ++place) {
                        Product<T> work{to - from, units, channels, from_x.row(place, 0), x_ld, 1, u.row(place, 0), y_ld, 1,
                                        to_y.row(place, 0), y_ld};
                        work.pack = p.pack;
                        product(work);
                    }
                    places_to_output(tiles, from, to, units, to_y, b < 0 ? nullptr : p.w + b, relu, output);
                }
            }
        };
        const long count = tiles.count();
        if (p.shows(y)) p.write_by_groups(y, [&](Range own) { compute({own.from * count, own.to * count}); });
        else compute(p.share(p.samples * count, 1));  // which may begin and end within a sample
    }

    void backward(const Pass<T>& p) override {
        const Derived derived = prepare_derived(p);
        if (sliced) return backward_in_slices(p, derived);
        if (wants_input)
            p.derive_by_groups(x, [&](Range own) {
                for (long sample = own.from; sample < own.to; ++sample)
                    derive(p, sample, derived, [](long, long) {});
            });
        backward_kernel(p);
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_b = b >= 0 && b <= at && at < b + units;
        const long row = (at - W) / units, place = row / channels, unit = of_b ? at - b : (at - W) % units;
        for (long k = 0; k < p.samples * y.rows; ++k) {
            const long o = k % y.rows, i = o / columns + place / 3 - above, j = o % columns + place % 3 - left;
            const bool inside = 0 <= i && i < height && 0 <= j && j < width;
            if (!of_b && !inside) continue;
            const double dy = derivative_at(y, relu, k, unit);
            to[k / y.rows] += of_b ? dy : dy * value_at(x, k / y.rows * x.rows + i * width + j, row % channels);
        }
    }

  private:
    // Numbers of a picture with its padding.
    long picture() const { return tiles.rows() * tiles.columns() * x_ld; }

    // The rows of the input that tiles read: as many as there are, and as tiles reach.
    long height_read() const { return height < tiles.rows() - above ? height : tiles.rows() - above; }
    long width_read() const { return width < tiles.columns() - left ? width : tiles.columns() - left; }
    bool in_place() const {
        return !above && !left && height == tiles.rows() && width == tiles.columns() && x.ld == x_ld;
    }

    // A sample with padding and whole vectors.
    const T* laid_out(long sample, T* padded) const {
        const T* from = x.value + sample * x.rows * x.ld;
        if (in_place() && !x.normalization) return from;
        std::memset(padded, 0, size_t(picture()) * sizeof(T));
        for (long i = 0; i < height_read(); ++i) {
            T* const to = padded + ((i + above) * tiles.columns() + left) * x_ld;
            if (x.normalization)
                normalize_rows(width_read(), channels, from + i * width * x.ld, x.ld, *x.normalization, 0, to, x_ld);
            else copy_rows(width_read(), channels, from + i * width * x.ld, x.ld, to, x_ld);
        }
        return padded;
    }

    // The kernel's places, and what the derivatives of one sample take.
    struct Derived {
        Places<T> u, from_y, to_x, from_x;
        T *padded, *input;
    };
    Derived prepare_derived(const Pass<T>& p) const {
        Derived d;
        d.padded = p.scratch;
        d.input = d.padded + picture();
        T* const turned = d.input + picture();  // w[3][3][n][c]
        d.u = {turned + 9 * units * x_ld, x_ld, units * x_ld};
        d.from_y = {d.u.at + PLACES * d.u.step, y_ld, at_a_time * y_ld};
        d.to_x = {d.from_y.at + PLACES * d.from_y.step, x_ld, at_a_time * x_ld};
        d.from_x = {d.to_x.at + PLACES * d.to_x.step, x_ld, at_a_time * x_ld};
        if (!wants_input) return d;
        for (long k = 0; k < 9; ++k)
            for (long c = 0; c < channels; ++c)
                for (long n = 0; n < units; ++n)
                    turned[(k * units + n) * channels + c] = p.w[W + (k * channels + c) * units + n];
        kernel_to_places(units, channels, turned, d.u);
        return d;
    }

    // The derivatives of a sample's inputs, if they are wanted; calls f(from, to) for its tiles, whose
    // derivatives are at their places.
    template <class F> INLINE void derive(const Pass<T>& p, long sample, const Derived& d, F f) const {
        T* const dx = in_place() ? x.gradient + sample * x.rows * x.ld : d.padded;
        if (wants_input) std::memset(dx, 0, size_t(picture()) * sizeof(T));
        for (long from = 0, to; from < tiles.count(); from = to) {
            to = from + at_a_time < tiles.count() ? from + at_a_time : tiles.count();
            derivatives_to_places(sample, from, to, {0, units}, d.from_y);
            f(from, to);
            if (!wants_input) continue;
            for (int place = 0; place < PLACES; ++place) {
                Product<T> work{to - from, channels, units, d.from_y.row(place, 0), y_ld, 1, d.u.row(place, 0), x_ld, 1,
                                d.to_x.row(place, 0), x_ld};
                work.pack = p.pack;
                product(work);
            }
            places_to_input(tiles, from, to, x_ld, d.to_x, dx);
        }
        if (wants_input && dx == d.padded) take_out(dx, x.gradient + sample * x.rows * x.ld);
    }

    long parameters() const { return PLACES * channels * y_ld + (b < 0 ? 0 : y_ld); }

    void backward_in_slices(const Pass<T>& p, const Derived& d) const {
        in_slices(p, x, parameters(), [&](Range samples, T* gradient) {
            const Places<T> du{gradient, y_ld, channels * y_ld};
            T* const db = b < 0 ? nullptr : gradient + PLACES * du.step;
            for (long sample = samples.from; sample < samples.to; ++sample) {
                const T* const input = laid_out(sample, d.input);
                derive(p, sample, d, [&](long from, long to) INLINE_LAMBDA {
                    input_to_places(tiles, from, to, x_ld, input, d.from_x);
                    add_kernel(p, to - from, units, d.from_x, d.from_y, du, db, true);
                });
            }
        });
        add_slices(p, parameters());
        p.wait();
        const Places<T> u{p.shared, y_ld, channels * y_ld};
        places_to_kernel(channels, p.share(channels, 1), units, u, p.g + W, units);
        if (b >= 0 && p.t == 0) std::memcpy(p.g + b, p.shared + PLACES * u.step, size_t(units) * sizeof(T));
    }

    // The gradient at all places, of so many tiles and units.
    void add_kernel(const Pass<T>& p, long count, long units, Places<T> from_x, Places<T> from_y, Places<T> u, T* db,
                    bool accumulate) const {
        for (int place = 0; place < PLACES; ++place) {
            Product<T> work{channels, units, count, from_x.row(place, 0), 1, x_ld, from_y.row(place, 0), y_ld, 1,
                            u.row(place, 0), y_ld};
            work.accumulate = accumulate;
            work.pack = p.pack;
            product(work);
        }
        // at this place, all four derivatives of a tile are added up
        if (db) for (long tile = 0; tile < count; ++tile)
            over<T>(units, [&](long n, auto get, auto put) { put(db + n, get(db + n) + get(from_y.row(5, tile) + n)); });
    }
    void take_out(const T* padded, T* dx) const {
        for (long i = 0; i < height; ++i)
            for (long j = 0; j < width; ++j) {
                T* to = dx + (i * width + j) * x.ld;
                if (i < height_read() && j < width_read())
                    std::memcpy(to, padded + ((i + above) * tiles.columns() + j + left) * x_ld,
                                size_t(channels) * sizeof(T));
                else std::memset(to, 0, size_t(channels) * sizeof(T));
            }
    }

    // Divided by units: each thread goes through all samples in order.
    void backward_kernel(const Pass<T>& p) {
        T* const padded = p.scratch;
        const Places<T> u{padded + picture(), y_ld, channels * y_ld};
        const Places<T> from_x{u.at + PLACES * u.step, x_ld, at_a_time * x_ld};
        const Places<T> from_y{from_x.at + PLACES * from_x.step, y_ld, at_a_time * y_ld};
        const Range own = p.share(units, MAX_LANES);
        if (!own.count()) return;
        T* const db = b < 0 ? nullptr : p.g + b;
        if (db) std::memset(db + own.from, 0, size_t(own.count()) * sizeof(T));
        for (long sample = 0; sample < p.samples; ++sample) {
            const T* input = laid_out(sample, padded);
            for (long from = 0, to; from < tiles.count(); from = to) {
                to = from + at_a_time < tiles.count() ? from + at_a_time : tiles.count();
                input_to_places(tiles, from, to, x_ld, input, from_x);
                derivatives_to_places(sample, from, to, own, from_y);
                add_kernel(p, to - from, own.count(), from_x, from_y, u, db ? db + own.from : nullptr,
                           sample > 0 || from > 0);
            }
        }
        places_to_kernel(channels, {0, channels}, own.count(), u, p.g + W + own.from, units);
    }

    void derivatives_to_places(long sample, long from, long to, Range own, Places<T> places) const {
        const long at = sample * y.rows * y.ld + own.from;
        output_to_places<T>(tiles, from, to, own.count(), {y.gradient + at, rows, columns, y.ld},
                            relu ? y.value + at : nullptr, places);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(winograd, Winograd)
