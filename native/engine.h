// The training loop: for each mini-batch gather the samples, then forward pass, loss, backward
// pass and descent.
#pragma once

#include <chrono>
#include <deque>
#include <exception>
#include <stdexcept>

#include "descent.h"
#include "memory.h"
#include "program.h"

namespace chainrule {

enum class Dtype : int { float32, float64, uint8, int32, int64 };

// Samples in memory, each of `size` contiguous numbers, `stride` bytes apart.
struct SampleArray {
    const char* data = nullptr;
    Dtype type = Dtype::float32;
    long count = 0, size = 0, stride = 0;
};

struct Data {
    SampleArray x, y, weight;
    const int64_t* order = nullptr;  // the rows of all mini-batches; null: in the order of x
    long rows = 0;
};

enum class Ending : int { complete, fault, not_finite };

struct RunResult {
    long steps;  // completed, with finite results
    Ending ending;
};

// Bytes of a sample up to which copying it is faster than reading it in place.
constexpr long SMALL = 512;

template <class T> class Engine {
  public:
    Engine(const Kernels<T>& kernels, long max_samples, int threads)
        : kernels_(kernels), max_samples_(max_samples), threads_(threads < 1 ? 1 : threads) {}

    Descent<T> descent;
    LossWork<T> loss{};
    std::vector<T> loss_numbers;  // see LossWork
    std::shared_ptr<void> lent;  // keeps the arrays of the optimizer's state alive during a run

    int value(long rows, long width, int value_of, bool learns) {
        values_.push_back({rows, width, padded_width(width, sizeof(T)), nullptr, nullptr, value_of, -1, learns});
        return int(values_.size()) - 1;
    }
    void share_gradient(const std::vector<int>& ks, int of) {
        for (int k : ks) values_.at(size_t(k)).gradient_of = of;
    }
    const Value<T>& at(int k) const { return values_.at(size_t(k)); }
    std::vector<const Value<T>*> values_of(const std::vector<int>& ks) const {
        std::vector<const Value<T>*> values;
        for (int k : ks) values.push_back(&at(k));
        return values;
    }
    void add(std::unique_ptr<Operation<T>> operation) { operations_.push_back(std::move(operation)); }
    T* allocate(long count) {  // memory that lives as long as the engine
        storage_.emplace_back(size_t(count + PADDING));
        return storage_.back().data();
    }
    // Declares that an operation uses the parameters and statistics before these offsets.
    void reach(long parameters, long statistics) {
        reached_ = std::max(reached_, parameters);
        reached_statistics_ = std::max(reached_statistics_, statistics);
    }
    long max_samples() const { return max_samples_; }
    long parameters() const { return parameters_; }
    long statistics() const { return statistics_; }
    long input_size() const { return values_.at(0).rows * values_.at(0).width; }
    long output_size() const { return at(prediction_).rows * at(prediction_).width; }
    bool finished() const { return finished_; }
    bool trains() const { return finished_ && trains_; }
    const char* processor() const { return kernels_.name; }
    bool hindered() const { return stalls_.hindered(); }  // in the last run, by other programs
    void fail(std::exception_ptr error, bool backward) {
        if (!error_) error_ = error;
        if (!backward) fault_ = true;
    }

    // Completes the program: value 0 is the input, value `prediction` the prediction.
    void finish(int prediction, long parameters, long statistics, bool trains) {
        check(prediction, parameters, statistics, trains);
        finished_ = true;
        prediction_ = prediction;
        trains_ = trains;
        parameters_ = parameters;
        statistics_ = statistics;
        values_.at(size_t(prediction)).learns = true;  // the loss writes its derivatives to it
        first_ = operations_.empty() ? nullptr : dynamic_cast<DenseOp<T>*>(operations_[0].get());
        if (first_ && (&first_->x != &values_[0] || values_[0].rows != 1)) first_ = nullptr;
        // The input may be read in place.
        for (size_t k = first_ ? 1 : 0; k < values_.size(); ++k) {
            Value<T>& v = values_[k];
            v.value = v.value_of >= 0 ? values_[size_t(v.value_of)].value : allocate(max_samples_ * v.rows * v.ld);
        }
        // From the last: a sum comes after its terms, which share its gradient.
        for (size_t k = values_.size(); trains && k-- > 0;) {
            Value<T>& v = values_[k];
            if (v.gradient_of >= 0) v.gradient = values_[size_t(v.gradient_of)].gradient;
            else if (v.learns) v.gradient = allocate(max_samples_ * v.rows * v.ld);
        }
        sample_rows_.assign(size_t(max_samples_), nullptr);
        long scratch = 0;
        for (const auto& operation : operations_) scratch = std::max(scratch, operation->scratch());
        if (trains) {
            gradient_.resize(size_t(parameters + PADDING));
            targets_.resize(size_t(max_samples_ * loss.target_width + PADDING));
            weights_.resize(size_t(max_samples_ + PADDING));
            losses_.assign(size_t(max_samples_), 0);
            scratch = std::max(scratch, (4 * at(prediction).width + 2 * loss.target_width + 4) * MAX_LANES);
            loss.numbers = loss_numbers.empty() ? nullptr : loss_numbers.data();
            descent.finish(parameters, threads_);
            trial_statistics_.resize(size_t(statistics));
            std::vector<int> stepped;
            for (const auto& operation : operations_)
                if (auto* dense = dynamic_cast<DenseOp<T>*>(operation.get())) {
                    const bool large = dense->x.width >= 32 * threads_ && dense->y.width > 1 &&
                                       dense->y.width <= PART / 32;
                    dense->array = descent.by_parts() && large ? descent.array_at(dense->W) : -1;
                    if (dense->array >= 0) stepped.push_back(dense->array);
                }
            descent.leave_out(stepped);
            part_.resize(size_t(threads_));
            for (auto& part : part_)
                if (!stepped.empty()) part.resize(PART + PADDING);
        }
        pack_.resize(size_t(threads_));
        scratch_.resize(size_t(threads_));
        for (auto& pack : pack_) pack.resize(PACK + PADDING);
        for (auto& s : scratch_) s.resize(size_t(scratch + PADDING));
    }

    // Takes a step for each mini-batch of data.order until all are done or `seconds` have passed;
    // `losses` receives each step's loss. If a step fails, the contents of the vectors are
    // undefined.
    RunResult run(T* w, T* statistics, const Data& data, long batch, uint64_t first_step, double seconds,
                  double* losses, T* gradient, T* update) {
        require_room(std::min(batch, data.rows));
        const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
        // Steps between two readings of the clock.
        const long every = parameters_ < 10000 && seconds > 0 ? 64 : 1;
        RunResult result{0, Ending::complete};
        begin(data);
        bool stop = data.rows == 0;
        std::vector<char> finite(size_t(threads_), 1);
        Barrier barrier(threads_);
        stalls_.begin();
        double loss_here = 0;
        if (!stop) in_parallel(threads_, [&](int t) {
            const FlushSubnormals guard;
            for (long from = 0; !stop; from += batch) {
                const long samples = std::min(batch, data.rows - from);
                Pass<T> pass = this->pass(samples, first_step + uint64_t(from / batch), true, w, statistics, t);
                if (descent.by_parts() && !gradient) {
                    pass.descent = &descent;
                    pass.weights = w;
                    pass.part = part_[size_t(t)].data();
                    descent.begin_step(t);
                }
                if (t == 0 && descent.has_line_search())
                    statistics_before_.assign(statistics, statistics + statistics_);
                const bool valid = derive(pass, data, from, barrier);
                if (t == 0 && valid) loss_here = mean_loss(samples);
                if (valid) {
                    typename Descent<T>::LossAt loss_at;
                    if (descent.has_line_search()) loss_at = [&, this](const T* trial_w, T* trial_g) {
                        Pass<T> trial = pass;
                        trial.w = trial_w;
                        trial.g = trial_g;
                        // Trials don't update the running statistics.
                        if (t == 0) trial_statistics_ = statistics_before_;
                        trial.statistics = trial_statistics_.data();
                        derive(trial, data, from, barrier);
                        return mean_loss(samples);
                    };
                    finite[size_t(t)] =
                        descent.step(kernels_, w, gradient_.data(), gradient, update, t, barrier, loss_here, loss_at);
                    barrier.wait();
                }
                if (t == 0) {
                    const double value = valid ? loss_here + descent.penalty : 0;
                    if (fault_ || error_) result.ending = Ending::fault;
                    else {
                        losses[result.steps] = value;
                        if (!std::isfinite(value) || std::count(finite.begin(), finite.end(), 0))
                            result.ending = Ending::not_finite;
                        else ++result.steps;
                    }
                    stop = result.ending != Ending::complete || from + batch >= data.rows ||
                           (seconds > 0 && stalls_.are_many(barrier)) ||
                           (result.steps % every == 0 && std::chrono::steady_clock::now() >= end);
                }
                barrier.wait();
            }
        });
        stalls_.end(barrier);
        rethrow();
        return result;
    }

    // Computes the gradient of one mini-batch and returns its loss without penalties; sets `valid`
    // to false if an input is invalid.
    double differentiate(const T* w, T* statistics, const Data& data, uint64_t step, T* gradient, bool& valid) {
        require_room(data.rows);
        begin(data);
        Barrier barrier(threads_);
        stalls_.begin();
        in_parallel(threads_, [&](int t) {
            const FlushSubnormals guard;
            derive(pass(data.rows, step, true, w, statistics, t), data, 0, barrier);
        });
        stalls_.end(barrier);
        rethrow();
        valid = !fault_;
        std::memcpy(gradient, gradient_.data(), size_t(parameters_) * sizeof(T));
        return mean_loss(data.rows);
    }

    // Predicts all of data in evaluation mode; false if an input is invalid.
    bool predict(const T* w, T* statistics, const Data& data, T* predictions) {
        begin(data);
        const Value<T>& out = at(prediction_);
        Barrier barrier(threads_);
        stalls_.begin();
        bool stop = data.rows == 0;
        if (!stop) in_parallel(threads_, [&](int t) {
            const FlushSubnormals guard;
            for (long from = 0; from < data.rows && !stop; from += max_samples_) {
                const Pass<T> pass = this->pass(std::min(max_samples_, data.rows - from), 0, false, w, statistics, t);
                forward(pass, data, from, barrier);
                const Range r = share(pass.samples * out.rows, 1, t, threads_);
                for (long i = r.from; i < r.to; ++i)
                    kernels_.copy(out.width, out.value + i * out.ld, predictions + (from * out.rows + i) * out.width);
                if (t == 0) stop = fault_;
                barrier.wait();
            }
        });
        stalls_.end(barrier);
        rethrow();
        return !fault_;
    }

    int prediction() const { return prediction_; }

  private:
    const Kernels<T>& kernels_;
    long max_samples_, parameters_ = 0, statistics_ = 0;
    int threads_, prediction_ = 0;
    Stalls stalls_;
    bool trains_ = false, finished_ = false;
    long reached_ = 0, reached_statistics_ = 0;
    // Set in the forward pass, read by all threads after a barrier.
    std::atomic<bool> fault_{false};
    std::exception_ptr error_;        // raised by a Python layer, on the first thread
    std::deque<Value<T>> values_;
    std::vector<std::unique_ptr<Operation<T>>> operations_;
    std::deque<AlignedVector<T>> storage_;
    AlignedVector<T> gradient_, targets_, weights_;
    // Statistics before a step, and during a line search.
    std::vector<T> statistics_before_, trial_statistics_;
    std::vector<double> losses_;
    std::vector<AlignedVector<T>> pack_, scratch_, part_;
    DenseOp<T>* first_ = nullptr;        // the first operation, if it can read the samples in place
    // Whether the samples have the engine's dtype and alignment.
    bool fits_ = false;
    long rows_ = 0;
    std::vector<const T*> sample_rows_;  // addresses of the mini-batch's samples

    // Validates what the kernels rely on.
    void check(int prediction, long parameters, long statistics, bool trains) const {
        const auto require = [](bool condition, const char* message) {
            if (!condition) throw std::invalid_argument(message);
        };
        require(!finished_ && max_samples_ >= 1 && values_.size() > 1, "the engine is empty or already finished");
        require(reached_ <= parameters && reached_statistics_ <= statistics,
                "an operation lies outside of the vectors");
        if (!trains) return;
        const long outputs = values_.at(size_t(prediction)).width;
        const LossKind kind = loss.kind;
        const size_t given = loss_numbers.size();
        if (kind == LossKind::quantiles) {
            require(given && outputs == long(given) * loss.target_width && !loss.classes,
                    "the target does not fit the loss");
            require(loss.number >= 0 && loss.number < T(given), "the base must be one of the levels");
            return;
        }
        require(loss.target_width == (loss.classes ? 1 : kind == LossKind::gaussian ? outputs / 2 : outputs) &&
                    (loss.classes || kind != LossKind::ordinal),
                "the target does not fit the loss");
        const size_t classes = kind == LossKind::ordinal ? size_t(outputs) + 1
                               : kind == LossKind::binary ? 2 * size_t(outputs)
                               : outputs == 1             ? 2
                                                          : size_t(outputs);
        require(!given || given == classes, "there must be one weight for each class");
    }
    void require_room(long samples) const {
        if (samples > max_samples_) throw std::length_error("the mini-batch is larger than the engine allows");
    }

    void begin(const Data& data) {
        fault_ = false;
        error_ = nullptr;
        rows_ = data.rows;
        const SampleArray& x = data.x;
        Value<T>& input = values_[0];
        fits_ = input.rows == 1 && x.type == (sizeof(T) == 4 ? Dtype::float32 : Dtype::float64) &&
                reinterpret_cast<uintptr_t>(x.data) % sizeof(T) == 0 && x.stride % long(sizeof(T)) == 0;
        const bool in_place = first_ && fits_ && x.size * long(sizeof(T)) > SMALL;
        if (first_) first_->reads_samples = in_place;
        // For gathered samples.
        if (!in_place && !input.value) input.value = allocate(max_samples_ * input.rows * input.ld);
    }
    void rethrow() {
        if (error_) std::rethrow_exception(error_);
    }

    Pass<T> pass(long samples, uint64_t step, bool training, const T* w, T* statistics, int t) {
        return {kernels_, samples, step, training, w, statistics, gradient_.data(), t, threads_,
                pack_[size_t(t)].data(), scratch_[size_t(t)].data(), sample_rows_.data(), &fault_};
    }

    void forward(const Pass<T>& pass, const Data& data, long from, Barrier& barrier) {
        const Range r = share(pass.samples, 1, pass.t, pass.threads);
        const Value<T>& input = values_[0];
        if (fits_) {
            locate(data.x, data.order, from, r);
            if (!first_ || !first_->reads_samples)
                kernels_.gather(r.count(), input.width, sample_rows_.data() + r.from, input.value + r.from * input.ld,
                                input.ld);
        } else gather(data.x, data.order, from, r, input.rows, input.width, input.ld, input.value);
        if (trains_ && pass.training) {
            gather(data.y, data.order, from, r, 1, loss.target_width, loss.target_width, targets_.data());
            if (data.weight.data) gather(data.weight, data.order, from, r, 1, 1, 1, weights_.data());
        }
        barrier.wait();
        for (const auto& operation : operations_) {
            operation->forward(pass);
            barrier.wait();
        }
    }

    // Forward pass, loss and backward pass; false, after the loss, if an input is invalid.
    bool derive(const Pass<T>& pass, const Data& data, long from, Barrier& barrier) {
        forward(pass, data, from, barrier);
        const Value<T>& out = at(prediction_);
        const Range r = share(pass.samples, kernels_.width, pass.t, pass.threads);
        LossWork<T> work = loss;
        work.outputs = out.width;
        work.z = out.value + r.from * out.ld;
        work.z_ld = work.dz_ld = out.ld;
        work.dz = out.gradient + r.from * out.ld;
        work.target = targets_.data() + r.from * loss.target_width;
        work.weight = data.weight.data ? weights_.data() + r.from : nullptr;
        work.batch = T(pass.samples);
        work.losses = losses_.data() + r.from;
        work.scratch = pass.scratch;
        if (!kernels_.loss(work, r.count())) fault_ = true;
        barrier.wait();
        if (fault_) return false;
        for (size_t k = operations_.size(); k-- > 0;) {
            operations_[k]->backward(pass);
            barrier.wait();
        }
        return true;
    }

    double mean_loss(long samples) const {
        double total = 0;
        for (long i = 0; i < samples; ++i) total += losses_[size_t(i)];
        return total / double(samples);
    }

    void gather(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
                T* to) {
        switch (table.type) {
            case Dtype::float32: return gather_as<float>(table, order, from, r, rows, width, ld, to);
            case Dtype::float64: return gather_as<double>(table, order, from, r, rows, width, ld, to);
            case Dtype::uint8: return gather_as<uint8_t>(table, order, from, r, rows, width, ld, to);
            case Dtype::int32: return gather_as<int32_t>(table, order, from, r, rows, width, ld, to);
            case Dtype::int64: return gather_as<int64_t>(table, order, from, r, rows, width, ld, to);
        }
    }

    // Sets the addresses of the samples only.
    void locate(const SampleArray& table, const int64_t* order, long from, Range r) {
        for (long i = r.from; i < r.to; ++i) {
            int64_t row = order ? order[from + i] : from + i;
            if (row < 0 || row >= table.count) {
                fault_ = true;
                row = 0;
            }
            sample_rows_[size_t(i)] = reinterpret_cast<const T*>(table.data + row * table.stride);
            // Prefetches the next mini-batch's samples, if they are small.
            const long next = from + i + (r.to - r.from);
            if (order && threads_ == 1 && next < rows_ && table.size * long(sizeof(T)) <= SMALL) {
                const char* ahead = table.data + order[next] * table.stride;
                for (long at = 0; at < table.size * long(sizeof(T)); at += 64) __builtin_prefetch(ahead + at);
            }
        }
    }

    template <class S>
    void gather_as(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
                   T* to) {
        for (long i = r.from; i < r.to; ++i) {
            const int64_t row = order ? order[from + i] : from + i;
            if (row < 0 || row >= table.count) {
                fault_ = true;
                continue;
            }
            const S* sample = reinterpret_cast<const S*>(table.data + row * table.stride);
            T* into = to + i * rows * ld;
            for (long k = 0; k < rows; ++k, sample += width, into += ld)
                for (long j = 0; j < width; ++j) into[j] = T(sample[j]);
        }
    }
};

}  // namespace chainrule
