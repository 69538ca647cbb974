// A network as a list of operations on numbered values, run forward and then backward.
//
// A value is a layer's output for a mini-batch: each sample has `rows` rows (one for each
// position) of `width` numbers, `ld` apart. An operation reads values and writes one; backward it
// reads the gradient of its output and writes those of its inputs. A value with several readers
// goes through a Fork, which adds up their gradients. All threads run the same list, each on its
// share of every operation, with a barrier after each.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "descent.h"
#include "kernels.h"
#include "products.h"
#include "threads.h"

namespace chainrule {

template <class T> struct Value {
    long rows, width, ld;
    T* value = nullptr;
    T* gradient = nullptr;
    int value_of = -1;     // shares the memory of this value
    int gradient_of = -1;  // shares the gradient of this value
    bool learns = false;   // whether it depends on a parameter: then its gradient is computed
};

// One mini-batch's forward and backward pass, as one thread sees it.
template <class T> struct Pass {
    const Kernels<T>& kernels;
    long samples;
    uint64_t step;
    bool training;
    const T* w;     // parameters
    T* statistics;
    T* g;           // gradient of the parameters
    int t, threads;
    T* pack;        // this thread's scratch for matrix products
    T* scratch;     // this thread's scratch for other operations
    const T* const* sample_rows;    // addresses of the input's samples, if they are read in place
    // Set if an input is invalid; the Python definition then reports why.
    std::atomic<bool>* fault;
    // Not null if weights may be stepped as soon as their gradient is known.
    Descent<T>* descent = nullptr;
    T* weights = nullptr;           // the weights, writable, if `descent` is set
    T* part = nullptr;              // this thread's scratch for PART numbers of a gradient
};

// Numbers of a gradient that are stepped at a time: half of a core's L2 cache.
constexpr long PART = 100 * 1024;

inline long padded_width(long width, long size) {
    long ld = (width + MAX_LANES - 1) / MAX_LANES * MAX_LANES;
    if (ld * size % 1024 == 0) ld += MAX_LANES;  // rows a power of 2 apart would share cache sets
    return ld;
}

template <class T> struct Operation {
    virtual ~Operation() = default;
    virtual void forward(const Pass<T>&) = 0;
    virtual void backward(const Pass<T>&) {}
    virtual long scratch() const { return 0; }   // numbers of scratch per thread
};

template <class T> void parallel_product(const Pass<T>& p, Product<T>& work, bool prefer_rows = false) {
    parallel_product(p.kernels, p.t, p.threads, p.pack, work, prefer_rows);
}

// y = x W + b, or ReLU of that. With `slope` x is the output of a fused ReLU, whose slope
// multiplies x's gradient.
template <class T> struct DenseOp : Operation<T> {
    const Value<T>&x, &y;
    long W, b;  // offsets in the flat vectors; b < 0: no bias
    bool relu, slope, wants_input;
    bool reads_samples = false;  // x is the input, read in place
    // W's index among the arrays if it is stepped in parts, otherwise -1.
    int array = -1;
    DenseOp(const Value<T>& x, const Value<T>& y, long W, long b, bool relu, bool slope, bool wants_input)
        : x(x), y(y), W(W), b(b), relu(relu), slope(slope), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        Product<T> work{p.samples * x.rows, y.width, x.width, x.value, x.ld, 1, p.w + W, y.width, 1, y.value, y.ld};
        work.bias = b < 0 ? nullptr : p.w + b;
        work.epilogue = relu ? Epilogue::relu : Epilogue::nothing;
        if (reads_samples) work.samples = p.sample_rows;
        parallel_product(p, work);
    }
    void backward(const Pass<T>& p) override {
        const long rows = p.samples * x.rows;
        if (p.descent && array >= 0) return backward_and_step(p);
        if (wants_input) {
            Product<T> dx{rows, x.width, y.width, y.gradient, y.ld, 1, p.w + W, 1, y.width, x.gradient, x.ld};
            dx.epilogue = slope ? Epilogue::relu_slope : Epilogue::nothing;
            dx.slope_of = x.value;
            parallel_product(p, dx);
        }
        Product<T> dw{x.width, y.width, rows, x.value, 1, x.ld, y.gradient, y.ld, 1, p.g + W, y.width};
        dw.whole = false;
        if (reads_samples) dw.samples = p.sample_rows;
        if (b >= 0) dw.sums = p.g + b;
        parallel_product(p, dw, true);
    }

    // Divided by inputs: a thread's derivatives read the same rows of W that it then steps.
    void backward_and_step(const Pass<T>& p) {
        const long rows = p.samples * x.rows, units = y.width;
        const Range own_range = share(x.width, wants_input ? 2 * p.kernels.width : 2, p.t, p.threads);
        if (wants_input && own_range.count()) {
            Product<T> dx{rows, own_range.count(), units, y.gradient, y.ld, 1, p.w + W + own_range.from * units, 1,
                          units, x.gradient + own_range.from, x.ld};
            dx.epilogue = slope ? Epilogue::relu_slope : Epilogue::nothing;
            dx.slope_of = x.value + own_range.from;
            dx.pack = p.pack;
            p.kernels.product(dx);
        }
        const long most = PART / units, blocks = (own_range.count() + most - 1) / most;
        for (long block = 0; block < blocks; ++block) {
            const long from = own_range.from + own_range.count() * block / blocks;
            const long to = own_range.from + own_range.count() * (block + 1) / blocks;
            Product<T> dw{to - from, units, rows, x.value + from, 1, x.ld, y.gradient, y.ld, 1, p.part, units};
            dw.whole = false;
            dw.pack = p.pack;
            if (b >= 0 && from == 0) dw.sums = p.g + b;
            if (reads_samples) {
                dw.samples = p.sample_rows;
                dw.a_from = from;
            }
            p.kernels.product(dw);
            p.descent->step_part(p.kernels, p.weights, p.part, array, W + from * units, W + to * units, p.t);
        }
    }
};

template <class T> struct ActivationOp : Operation<T> {
    const Value<T>&x, &y;
    Activation kind;
    T number;
    bool wants_input;
    ActivationOp(const Value<T>& x, const Value<T>& y, Activation kind, T number, bool wants_input)
        : x(x), y(y), kind(kind), number(number), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        p.kernels.activate(kind, number, r.count() * x.ld, x.value + r.from * x.ld, y.value + r.from * x.ld);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        const long at = r.from * x.ld;
        p.kernels.activate_back(kind, number, r.count() * x.ld, x.value + at, y.value + at, y.gradient + at,
                                x.gradient + at);
    }
};

template <class T> struct PReLUOp : Operation<T> {
    const Value<T>&x, &y;
    long alpha;
    bool wants_input;
    PReLUOp(const Value<T>& x, const Value<T>& y, long alpha, bool wants_input)
        : x(x), y(y), alpha(alpha), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(x.width, MAX_LANES, p.t, p.threads);
        p.kernels.prelu(p.samples * x.rows, r.count(), x.value + r.from, p.w + alpha + r.from, y.value + r.from, x.ld);
    }
    void backward(const Pass<T>& p) override {
        const Range r = share(x.width, MAX_LANES, p.t, p.threads);
        p.kernels.prelu_back(p.samples * x.rows, r.count(), x.value + r.from, p.w + alpha + r.from, y.gradient + r.from,
                             wants_input ? x.gradient + r.from : nullptr, p.g + alpha + r.from, x.ld);
    }
};

template <class T> struct SoftmaxOp : Operation<T> {
    const Value<T>&x, &y;
    bool logarithm, wants_input;
    SoftmaxOp(const Value<T>& x, const Value<T>& y, bool logarithm, bool wants_input)
        : x(x), y(y), logarithm(logarithm), wants_input(wants_input) {}

    long scratch() const override { return 2 * x.width * MAX_LANES; }
    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * x.rows, MAX_LANES, p.t, p.threads);
        p.kernels.softmax(r.count(), x.width, x.value + r.from * x.ld, x.ld, y.value + r.from * y.ld, y.ld, logarithm,
                          p.scratch);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        const long at = r.from * x.ld;
        p.kernels.softmax_back(r.count(), x.width, y.value + at, y.gradient + at, x.gradient + at, x.ld, logarithm);
    }
};

// BatchNorm or LayerNorm. Saves the normalized x and the inverse standard deviations for the
// backward pass.
template <class T> struct NormOp : Operation<T> {
    const Value<T>&x, &y, &unit;
    T* inverse;
    long scale, offset, mean, variance;  // mean < 0: LayerNorm
    T momentum, epsilon;
    bool wants_input;
    NormOp(const Value<T>& x, const Value<T>& y, const Value<T>& unit, T* inverse, long scale, long offset, long mean,
           long variance, T momentum, T epsilon, bool wants_input)
        : x(x), y(y), unit(unit), inverse(inverse), scale(scale), offset(offset), mean(mean), variance(variance),
          momentum(momentum), epsilon(epsilon), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const long rows = p.samples * x.rows;
        if (mean >= 0) {
            const Range r = share(x.width, MAX_LANES, p.t, p.threads);
            const long j = r.from;
            p.kernels.batch_norm(rows, r.count(), x.value + j, y.value + j, unit.value + j, x.ld, p.w + scale + j,
                                 p.w + offset + j, p.statistics + mean + j, p.statistics + variance + j, inverse + j,
                                 momentum, epsilon, p.training);
        } else {
            const Range r = share(rows, 1, p.t, p.threads);
            const long at = r.from * x.ld;
            p.kernels.layer_norm(r.count(), x.width, x.value + at, y.value + at, unit.value + at, inverse + r.from,
                                 x.ld, p.w + scale, p.w + offset, epsilon);
        }
    }
    void backward(const Pass<T>& p) override {
        const long rows = p.samples * x.rows;
        const Range c = share(x.width, MAX_LANES, p.t, p.threads);
        const long j = c.from;
        if (mean >= 0) {
            p.kernels.batch_norm_back(rows, c.count(), y.gradient + j, unit.value + j,
                                      wants_input ? x.gradient + j : nullptr, x.ld, p.w + scale + j, inverse + j,
                                      p.g + scale + j, p.g + offset + j);
            return;
        }
        p.kernels.column_sums(rows, c.count(), y.gradient + j, unit.value + j, x.ld, p.g + scale + j);
        p.kernels.column_sums(rows, c.count(), y.gradient + j, nullptr, x.ld, p.g + offset + j);
        if (!wants_input) return;
        const Range r = share(rows, 1, p.t, p.threads);
        const long at = r.from * x.ld;
        p.kernels.layer_norm_back(r.count(), x.width, y.gradient + at, unit.value + at, inverse + r.from,
                                  x.gradient + at, x.ld, p.w + scale);
    }
};

template <class T> struct DropoutOp : Operation<T> {
    const Value<T>&x, &y, &mask;
    uint64_t key0, key1;
    uint32_t threshold;
    T keep_scale;
    bool wants_input;
    DropoutOp(const Value<T>& x, const Value<T>& y, const Value<T>& mask, uint64_t key0, uint64_t key1,
              uint32_t threshold, T keep_scale, bool wants_input)
        : x(x), y(y), mask(mask), key0(key0), key1(key1), threshold(threshold), keep_scale(keep_scale),
          wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (!p.training) return p.kernels.copy(count, x.value + at, y.value + at);
        for (long row = r.from; row < r.to; ++row)
            p.kernels.keep_mask(key0, key1, p.step, threshold, keep_scale, row * x.width, x.width,
                                mask.value + row * x.ld);
        p.kernels.multiply(count, x.value + at, mask.value + at, y.value + at);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (p.training) p.kernels.multiply(count, y.gradient + at, mask.value + at, x.gradient + at);
        else p.kernels.copy(count, y.gradient + at, x.gradient + at);
    }
};

template <class T> struct EmbeddingOp : Operation<T> {
    const Value<T>&x, &y;
    long W, count;
    bool wants_input;
    EmbeddingOp(const Value<T>& x, const Value<T>& y, long W, long count, bool wants_input)
        : x(x), y(y), W(W), count(count), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        if (!p.kernels.embedding(r.count(), r.from, y.width, count, x.value, x.ld, x.width, p.w + W, y.width, y.value,
                                 y.ld))
            *p.fault = true;
    }
    void backward(const Pass<T>& p) override {
        const Range c = share(y.width, MAX_LANES, p.t, p.threads);
        for (long row = 0; row < count; ++row)
            std::memset(p.g + W + row * y.width + c.from, 0, size_t(c.count()) * sizeof(T));
        p.kernels.embedding_back(p.samples * x.rows, 0, c.count(), x.value, x.ld, x.width, y.gradient + c.from, y.ld,
                                 p.g + W + c.from, y.width);
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        std::memset(x.gradient + r.from * x.ld, 0, size_t(r.count() * x.ld) * sizeof(T));
    }
};

template <class T> struct ExpandOp : Operation<T> {
    const Value<T>&x, &y;
    long W, b;
    std::vector<int64_t> on;  // the input that each row of W belongs to
    long units;
    bool wants_input;
    ExpandOp(const Value<T>& x, const Value<T>& y, long W, long b, std::vector<int64_t> on, bool wants_input)
        : x(x), y(y), W(W), b(b), on(std::move(on)), units(y.width / long(this->on.size())), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        p.kernels.expand(r.count(), long(on.size()), on.data(), units, x.value + r.from * x.ld, x.ld, p.w + W, p.w + b,
                         y.value + r.from * y.ld, y.ld);
    }
    void backward(const Pass<T>& p) override {
        const Range c = share(long(on.size()), 1, p.t, p.threads);
        p.kernels.expand_back(p.samples * x.rows, c.from, c.to, on.data(), units, x.value, x.ld, y.gradient, y.ld,
                              p.g + W, p.g + b);
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        p.kernels.expand_input(r.count(), long(on.size()), on.data(), units, p.w + W, y.gradient + r.from * y.ld, y.ld,
                               x.gradient + r.from * x.ld, x.ld);
    }
};

// Copies each sample's numbers into rows of another width.
template <class T> struct ReshapeOp : Operation<T> {
    const Value<T>&x, &y;
    bool wants_input;
    ReshapeOp(const Value<T>& x, const Value<T>& y, bool wants_input) : x(x), y(y), wants_input(wants_input) {}

    void forward(const Pass<T>& p) override { move(p, x, x.value, y, y.value); }
    void backward(const Pass<T>& p) override {
        if (wants_input) move(p, y, y.gradient, x, x.gradient);
    }

  private:
    static void move(const Pass<T>& p, const Value<T>& a, const T* from, const Value<T>& b, T* to) {
        const Range r = share(p.samples, 1, p.t, p.threads);
        const long total = a.rows * a.width;
        for (long s = r.from; s < r.to; ++s)
            for (long k = 0; k < total;) {
                const long a_left = a.width - k % a.width, b_left = b.width - k % b.width;
                const long here = a_left < b_left ? a_left : b_left;
                p.kernels.copy(here, from + (s * a.rows + k / a.width) * a.ld + k % a.width,
                               to + (s * b.rows + k / b.width) * b.ld + k % b.width);
                k += here;
            }
    }
};

// Adds up the gradients of x's readers; ys share the memory of x.
template <class T> struct ForkOp : Operation<T> {
    const Value<T>& x;
    std::vector<const Value<T>*> ys;
    bool wants_input;
    ForkOp(const Value<T>& x, std::vector<const Value<T>*> ys, bool wants_input)
        : x(x), ys(std::move(ys)), wants_input(wants_input) {}

    void forward(const Pass<T>&) override {}
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = share(p.samples * x.rows, 1, p.t, p.threads);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        p.kernels.copy(count, ys[0]->gradient + at, x.gradient + at);
        for (size_t k = 1; k < ys.size(); ++k) p.kernels.add(count, ys[k]->gradient + at, x.gradient + at);
    }
};

// y = the sum of xs, which share y's gradient.
template <class T> struct SumOp : Operation<T> {
    std::vector<const Value<T>*> xs;
    const Value<T>& y;
    SumOp(std::vector<const Value<T>*> xs, const Value<T>& y) : xs(std::move(xs)), y(y) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * y.rows, 1, p.t, p.threads);
        const long at = r.from * y.ld, count = r.count() * y.ld;
        p.kernels.copy(count, xs[0]->value + at, y.value + at);
        for (size_t k = 1; k < xs.size(); ++k) p.kernels.add(count, xs[k]->value + at, y.value + at);
    }
};

// Concatenates xs along the last axis.
template <class T> struct ConcatenateOp : Operation<T> {
    std::vector<const Value<T>*> xs;
    const Value<T>& y;
    ConcatenateOp(std::vector<const Value<T>*> xs, const Value<T>& y) : xs(std::move(xs)), y(y) {}

    void forward(const Pass<T>& p) override {
        const Range r = share(p.samples * y.rows, 1, p.t, p.threads);
        long at = 0;
        for (const auto* x : xs) {
            for (long i = r.from; i < r.to; ++i)
                p.kernels.copy(x->width, x->value + i * x->ld, y.value + i * y.ld + at);
            at += x->width;
        }
    }
    void backward(const Pass<T>& p) override {
        if (!y.gradient) return;
        const Range r = share(p.samples * y.rows, 1, p.t, p.threads);
        long at = 0;
        for (const auto* x : xs) {
            for (long i = r.from; x->gradient && i < r.to; ++i)
                p.kernels.copy(x->width, y.gradient + i * y.ld + at, x->gradient + i * x->ld);
            at += x->width;
        }
    }
};

// A layer without a kernel: `call(pass, backward)` runs its Python definition, on the first thread
// only.
template <class T> struct PythonLayerOp : Operation<T> {
    std::function<void(const Pass<T>&, bool)> call;
    explicit PythonLayerOp(std::function<void(const Pass<T>&, bool)> call) : call(std::move(call)) {}

    void forward(const Pass<T>& p) override {
        if (p.t == 0) call(p, false);
    }
    void backward(const Pass<T>& p) override {
        if (p.t == 0) call(p, true);
    }
};

}  // namespace chainrule
