// A convolution with a kernel of one place, or ReLU of that: a product of each position's channels
// with one matrix.
//
// Settings: relu: whether a ReLU is fused.
#include "../product.h"
#include "../slices.h"
#include "../windows.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Pointwise : Operation<T> {
    const Value<T>&x, &y;
    long in, out, W, b;  // b < 0: no bias
    bool relu, wants_input;
    int64_t *starts, *starts_of_y;  // of the rows of a block
    int64_t segment = 0;
    explicit Pointwise(const Record<T>& r)
        : x(r.input()), y(r.output()), in(x.width), out(y.width), W(r.parameter("W", x.width * y.width)),
          b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), relu(r.flag("relu")), wants_input(r.wants()),
          starts(rows_of(r, in)), starts_of_y(rows_of(r, out)) {
        require(x.rows == y.rows && x.is_packed() && y.is_packed(), "the positions stay the same");
    }

    bool normalizes_input() const override { return true; }
    bool normalizes_back() const override { return true; }
    bool shows() const override { return true; }

    long scratch() const override {
        const long panel = most(prepared_size(), panels<T>(out, in));
        return panel + BLOCK * (in + out) + 3 * MAX_LANES;
    }
    long shared_scratch() const override { return SLICES * slice_size(parameters()); }

    // The kernel in panels.
    long prepared_size() const override { return panels<T>(in, out); }
    void prepare(const T* w, T* to) const override { pack_panels<T>({in, out, w + W, out, 1}, to); }

    void forward(const Pass<T>& p) override {
        T *const panel = p.scratch, *const with = panel + whole(prepared_size());
        if (!p.prepared) prepare(p.w, panel);
        const auto compute = [&](Range rows) {
            by_blocks(rows, [&](Range block) {
                PatchProduct<T> work{block.count(), out, input(block, with), starts, &segment, 1, in, 1,
                                     p.prepared ? p.prepared : panel, y.value + block.from * out, out};
                work.bias = b < 0 ? nullptr : p.w + b;
                work.epilogue = relu ? Epilogue::relu : Epilogue::nothing;
                patch_product(work);
            });
        };
        if (p.shows(y)) p.write_by_groups(y, [&](Range own) { compute({own.from * y.rows, own.to * y.rows}); });
        else compute(p.rows(y));
    }

    void backward(const Pass<T>& p) override {
        T *const panel = p.scratch, *const with = panel + whole(panels<T>(out, in));
        T* const derivatives = with + whole(BLOCK * in);
        if (wants_input) pack_panels<T>({out, in, p.w + W, 1, out}, panel);
        in_slices(p, x, parameters(), [&](Range samples, T* gradient) {
            by_blocks({samples.from * x.rows, samples.to * x.rows}, [&](Range block) {
                const T* const dy = arriving(block, derivatives);
                if (wants_input) {
                    const PatchProduct<T> dx{block.count(), in, dy, starts_of_y, &segment, 1, out, 1, panel,
                                             x.gradient + block.from * in, in};
                    patch_product(dx);
                }
                Product<T> dw{in, out, block.count(), input(block, with), 1, in, dy, out, 1, gradient, out};
                dw.whole = false;
                dw.accumulate = true;
                dw.pack = p.pack;
                if (b >= 0) dw.sums = gradient + in * out;
                product(dw);
            });
        });
        add_slices(p, parameters(), 0, in * out, p.g + W);
        if (b >= 0) add_slices(p, parameters(), in * out, out, p.g + b);
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_b = b >= 0 && b <= at && at < b + out;
        const long channel = (at - W) / out, output = of_b ? at - b : (at - W) % out;
        for (long row = 0; row < p.samples * y.rows; ++row) {
            const double dy = derivative_at(y, relu, row, output);
            to[row / y.rows] += of_b ? dy : dy * value_at(x, row, channel);
        }
    }

  private:
    static constexpr long BLOCK = 128;  // rows: what is made of them stays in a core's cache

    static int64_t* rows_of(const Record<T>& r, long width) {
        auto* const to = reinterpret_cast<int64_t*>(r.memory(BLOCK * long(sizeof(int64_t) / sizeof(T))));
        for (long i = 0; i < BLOCK; ++i) to[i] = i * width;
        return to;
    }
    static long most(long a, long b) { return a > b ? a : b; }
    static long whole(long count) { return slice_size(count); }
    long parameters() const { return in * out + (b < 0 ? 0 : out); }

    template <class F> INLINE static void by_blocks(Range rows, F f) {
        for (long from = rows.from; from < rows.to; from += BLOCK)
            f(Range{from, from + BLOCK < rows.to ? from + BLOCK : rows.to});
    }
    const T* input(Range rows, T* to) const {
        const T* const from = x.value + rows.from * in;
        if (!x.normalization) return from;
        normalize_rows(rows.count(), in, from, in, *x.normalization, 0, to, in);
        return to;
    }
    // Derivatives of what the product gives.
    const T* arriving(Range rows, T* to) const {
        const long at = rows.from * out;
        if (y.back) back_normalize_rows(rows.count(), out, y.value + at, y.gradient + at, out, *y.back, to, out);
        else if (relu) with_slope(rows.count() * out, y.gradient + at, y.value + at, to);
        else return y.gradient + at;
        return to;
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(pointwise, Pointwise)
