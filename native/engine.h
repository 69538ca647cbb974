// The training loop: for each mini-batch gather the samples, then forward pass, loss, backward
// pass and descent.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "descent.h"
#include "memory.h"
#include "ranks.h"
#include "record.h"
#include "threads.h"

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

// What `run` keeps of each step for one parameter.
struct Watch {
    long place = 0;
    double* numbers = nullptr;  // (steps, watched()) or null: nothing is watched
    double* parts = nullptr;    // (rows) what each sample adds to its gradient
};

template <class T> class Engine;

// Where an array lies in a flat vector.
struct Place {
    long start, stop;
};

// What Python says of an operation, with the values and parameters it uses.
template <class T> struct BoundRecord final : Stored<Record<T>> {
    Engine<T>& engine;
    std::vector<int> reads, writes;
    std::vector<bool> wanted;  // which inputs' gradients are
    std::map<std::string, Place> parameters, statistics;

    BoundRecord(Engine<T>& engine, std::string name, SettingsByName settings)
        : Stored<Record<T>>(std::move(name), std::move(settings)), engine(engine) {}

    long inputs() const override { return long(reads.size()); }
    long outputs() const override { return long(writes.size()); }
    const Value<T>& input(long k) const override { return engine.at(one_of(reads, k)); }
    const Value<T>& output(long k) const override { return engine.at(one_of(writes, k)); }
    bool wants(long k) const override { return one_of(wanted, k); }
    bool has_parameter(const char* name) const override { return parameters.count(name) > 0; }
    long parameter(const char* name, long size) const override { return start(parameters, name, size); }
    long statistic(const char* name, long size) const override { return start(statistics, name, size); }
    long max_samples() const override { return engine.max_samples(); }
    T* memory(long count) const override { return engine.allocate(count); }

  private:
    template <class N> N one_of(const std::vector<N>& list, long k) const {
        if (k < 0 || k >= long(list.size())) this->fail("has too few inputs or outputs");
        return list[size_t(k)];
    }
    long start(const std::map<std::string, Place>& places, const char* name, long size) const {
        const auto found = places.find(name);
        if (found == places.end()) this->fail(std::string("lacks the array ") + name);
        const Place place = found->second;
        if (place.start < 0 || place.stop - place.start != size)
            this->fail(std::string("needs ") + std::to_string(size) + " numbers as " + name);
        return place.start;
    }
};

template <class T> class Engine {
  public:
    Engine(std::unique_ptr<Library<T>> library, long max_samples, int threads)
        : library_(std::move(library)), max_samples_(max_samples), threads_(threads < 1 ? 1 : threads),
          descent(*library_, threads_) {}

  private:
    std::unique_ptr<Library<T>> library_;
    long max_samples_, parameters_ = 0, statistics_ = 0;
    int threads_, prediction_ = 0;

  public:
    Descent<T> descent;
    long parameters_end = 0;      // how many parameters the optimizer expects
    std::shared_ptr<void> lent;   // keeps the arrays of the optimizer's state alive during a run
    // The processes that train together; null: there is one. Mini-batches are then the whole ones, of
    // which this one reads its own rows. All have the same gradient, and take the same step.
    std::unique_ptr<Ranks> ranks;
    // Memory for this rank's gradient that all ranks see, used in turns; none: they see none.
    std::vector<T*> windows;

    // Building: values and operations, in the order of execution, then `finish`.
    int value(long rows, long width, bool learns);
    void add(std::unique_ptr<BoundRecord<T>> record);  // by its name
    void add(std::unique_ptr<BoundRecord<T>> record, std::unique_ptr<Operation<T>> operation);
    // The loss of targets of this width, which are class indices or numbers.
    void set_loss(std::unique_ptr<Stored<Settings>> settings, long target_width, bool classes);
    // Completes the program: value 0 is the input, value `prediction` the prediction.
    void finish(int prediction, long parameters, long statistics, bool trains);

    // Takes a step for each mini-batch of data.order until all are done or `seconds` have passed;
    // `losses` receives each step's loss. If a step fails, the contents of the vectors are
    // undefined.
    RunResult run(T* w, T* statistics, const Data& data, long batch, uint64_t first_step, double seconds,
                  double* losses, T* gradient, T* update, const Watch& watch = {});
    // Whether `run` can watch a parameter, with `gradient` and `update` given: every operation that
    // has it knows its samples.
    bool can_watch(long place) const;
    // How many numbers that gives for each step: the parameter after it, its gradient and update, and
    // of each stage its vectors there, its count, its scale and its factor, as far as it has them.
    long watched() const;
    // Computes the gradient of one mini-batch and returns its loss without penalties; sets `valid`
    // to false if an input is invalid.
    double differentiate(const T* w, T* statistics, const Data& data, uint64_t step, T* gradient, bool& valid);
    // Predicts all of data in evaluation mode; false if an input is invalid. Parameters with the same
    // version are the same: operations prepare them once. Those of version 0 are used as they are.
    // Of texts that are continued, whose new positions are samples, `known` is how many are known.
    bool predict(const T* w, T* statistics, const Data& data, T* predictions, uint64_t version, uint64_t known = 0);

    const Value<T>& at(int k) const { return values_.at(size_t(k)); }
    // How many of a mini-batch's samples there is room for.
    long own_samples(long samples) const { return ranks ? (samples + ranks->count - 1) / ranks->count : samples; }
    T* allocate(long count) {  // memory that lives as long as the engine
        storage_.emplace_back(size_t(count + PADDING));
        ask_for_large_pages(storage_.back());
        return storage_.back().data();
    }
    // An error in a Python layer.
    void fail(std::exception_ptr error, bool backward) {
        if (!error_) error_ = error;
        if (!backward) invalid_ = true;
    }
    bool has_failed() const { return bool(error_); }
    long max_samples() const { return max_samples_; }
    long parameters() const { return parameters_; }
    long statistics() const { return statistics_; }
    long input_size() const { return values_.at(0).rows * values_.at(0).width; }
    // The loss has a row of outputs for each position of a sample, and a target for each.
    long positions() const { return at(prediction_).rows; }
    long target_size() const { return target_width_ * positions(); }
    long output_size() const { return at(prediction_).rows * at(prediction_).width; }
    int prediction() const { return prediction_; }
    bool finished() const { return finished_; }
    bool trains() const { return finished_ && trains_; }
    const char* processor() const { return library_->name(); }
    std::vector<Range> parts() const {  // those of the gradient that ranks add up, in that order
        std::vector<Range> ranges;
        for (const RanksPart& part : parts_) ranges.push_back(part.range);
        return ranges;
    }
    bool hindered() const { return stalls_.hindered(); }  // in the last run, by other programs

  private:
    struct PlannedValue : Value<T> {
        bool learns = false;  // whether it depends on a parameter: then its gradient is computed
        bool is_written = false;  // by an operation
        Operation<T>* writer = nullptr;
    };
    struct Step {
        std::unique_ptr<BoundRecord<T>> record;
        std::unique_ptr<Operation<T>> operation;
        T* prepared = nullptr;
    };
    // What the threads share while they run.
    struct Loop {
        T *w, *statistics, *gradient, *update;
        const Data& data;
        long batch;
        uint64_t first_step;
        double* losses;
        const Watch& watch;
        Barrier barrier;
        std::vector<char> finite;  // of each thread
        double loss = 0;           // of the current mini-batch
        bool stop = false;
        RunResult result{0, Ending::complete};
    };

    std::unique_ptr<Stored<Settings>> loss_settings_;
    std::unique_ptr<Loss<T>> loss_;
    long target_width_ = 0;
    bool by_class_ = false;
    Stalls stalls_;
    Workers workers_{threads_};
    bool trains_ = false, finished_ = false;
    // Set in the forward pass, read by all threads after a barrier.
    std::atomic<bool> invalid_{false};
    uint64_t prepared_ = 0;  // the version of the parameters that operations have prepared
    std::exception_ptr error_;  // raised by a Python layer, on the first thread
    std::deque<PlannedValue> values_;
    std::vector<Step> steps_;
    std::deque<AlignedVector<T>> storage_;
    AlignedVector<T> gradient_, targets_, weights_, shared_;
    // Statistics before a step, and during a line search.
    std::vector<T> statistics_before_, trial_statistics_;
    std::vector<double> losses_;
    // What ranks agree on: the sum of the losses, how many have an invalid input, and how many want to
    // stop; whether this one leaves out its backward pass; and in the order in which they are finished,
    // the parts of the gradient that they add up.
    double agreed_[3] = {};
    size_t turn_ = 0;
    bool idle_ = false;
    std::chrono::steady_clock::time_point deadline_;
    std::vector<RanksPart> parts_;
    std::vector<AlignedVector<T>> pack_, scratch_, part_;
    bool can_read_samples_ = false;  // whether the first operation can
    bool fits_ = false, in_place_ = false;  // whether the samples have the engine's dtype; whether they are read in place
    long rows_ = 0;
    std::vector<const T*> sample_rows_;  // addresses of the mini-batch's samples

    void connect(PlannedValue& value, Operation<T>& reader);
    void check(int prediction, long parameters, long statistics) const;
    void plan_values();
    void plan_training();
    void plan_parts();
    void plan_scratch();
    void require_room(long samples) const;

    void begin(const Data& data);
    // Where the next gradient is derived, and where one that was derived there is added up over ranks.
    T* gradient() { return windows.empty() ? gradient_.data() : windows[turn_ % windows.size()]; }
    T* summed(T* g) { return std::count(windows.begin(), windows.end(), g) ? gradient_.data() : g; }
    // Whether each rank takes the step of its share of the weights only.
    bool is_divided(const T* gradient) const {
        return ranks && descent.can_divide() && !gradient && !ranks->is_small(parameters_);
    }
    Pass<T> pass(long samples, uint64_t step, bool training, const T* w, T* statistics, int t, Barrier& barrier);
    bool take_step(Loop& loop, long from, int t);
    void end_step(Loop& loop, long from, bool valid);
    void keep(const Loop& loop) const;
    static bool has(const Step& step, long place);
    typename Descent<T>::LossAt loss_at(const Pass<T>& pass, Loop& loop, long from);
    template <class Work> void in_threads(Barrier& barrier, Work work, bool briefly = false);

    void prepare(const T* w, uint64_t version);
    void forward(Pass<T> pass, const Data& data, long from, Barrier& barrier);
    bool derive(const Pass<T>& pass, const Data& data, long from, Barrier& barrier, const Watch& watch = {},
                bool divided = false);
    void add_samples(const Pass<T>& pass, const Step& step, const Watch& watch, long from) const;
    void agree(const Pass<T>& pass, Barrier& barrier);
    bool conclude(const Pass<T>& pass, Barrier& barrier, bool divided);
    void gather_states(int t, Barrier& barrier);
    void add_parts(const Pass<T>& pass, long step);
    void compute_loss(const Pass<T>& pass, bool weighted);
    void gather_weights(const Data& data, long from, Range r);
    double mean_loss(long samples) const;

    void read_samples(const Pass<T>& pass, const Data& data, long from);
    void locate(const SampleArray& table, const int64_t* order, long from, Range r);
    void gather(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
                T* to);
    template <class S>
    void gather_as(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
                   T* to);
};

extern template class Engine<float>;
extern template class Engine<double>;

}  // namespace chainrule
