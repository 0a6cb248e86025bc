// Whatever happens to a training run, resuming it gives the adapter of an undisturbed run, byte for byte.
//
//   build/crash_test PROGRAM FAULTY_LIBC [KILLS [STRIDE [SEED]]]
//
// trains a tiny model in a folder of its own, once undisturbed, then
//
//   KILLS times (200) with a SIGKILL at a random instant, after a random time or before a random file operation, and
//     every second time with more of them while it is resumed;
//   with SIGINT, SIGTERM, SIGHUP and SIGUSR1 at each of the run's file operations, and SIGINT twice; SIGHUP under
//     nohup; SIGTERM from timeout at random instants;
//   on disks too small for it; with --out mounted read-only, or its mode changed, before some of the operations;
//   with each file operation that the run makes in --out, from the first to the last by STRIDE (1: every one), failing,
//     cut short, or the last one before the process or the machine dies, in every way that faulty_libc.cpp knows; and
//     the same for the operations of a run that is resumed.
//
// After each, the run is resumed until it ends. What must hold: it ends well; the adapter is the undisturbed one; in
// between, the newest checkpoint is intact, and the adapter is complete or absent; no temporary file is left; a process
// that was not killed ended with status 0, or with 1 and one sentence; the log has each step once, except after a power
// failure, because it is not fsynced.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "llmc/core/error.h"
#include "quaff/files/checkpoint_folder.h"
#include "test/files.h"
#include "test/quaff/small_model.h"

namespace {

namespace fs = std::filesystem;
using llmc::concat;
using llmc::fail;
using llmc::require;

constexpr int kSteps = 3;

struct Fault {
    std::string kind;  // of faulty_libc.cpp; "" for none, "time" for a SIGKILL after `microseconds`
    size_t at = 0;
    int64_t microseconds = 0;

    std::string describe() const {
        return kind == "time" ? concat("killed after ", microseconds, " us") : concat(kind, " at operation ", at);
    }
    bool kills() const { return kind == "time" || kind == "kill" || kind == "torn" || kind == "power"; }
};

struct Ending {
    bool killed;
    int status;
    std::string err;
};

class CrashTest {
  public:
    CrashTest(std::string program, std::string libc, unsigned seed)
        : program_(std::move(program)), libc_(std::move(libc)), random_(seed) {
        small::write_model(folder_ / "model");
        small::write_examples(folder_ / "train.jsonl", 21, 7);
        const auto begin = std::chrono::steady_clock::now();
        require(run(false, {}).status == 0, "the undisturbed run failed:\n", test::read(folder_ / "err"));
        duration_ = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
        trace_ = test::read(folder_ / "trace");
        expected_ = adapter();
        require(expected_.size() > 1000, "the undisturbed run left no adapter");
        // Killed while it writes the checkpoint of step 2: what is resumed below.
        size_t folders = 0, at = 0;
        while (folders < 2) folders += trace_[at++] == 'm' && at > 2;
        run_anew({"kill", trace_.find('r', at) + 1});
        fs::copy(out_, folder_ / "half", fs::copy_options::recursive);
        const Ending resumed = run(true, {});
        require(resumed.status == 0 && adapter() == expected_, "the resumed run failed:\n", resumed.err);
        resumed_trace_ = test::read(folder_ / "trace");
    }

    void kill_at_random(int64_t kills) {
        for (int64_t i = 0; i < kills; ++i) {
            const Fault fault = random_kill();
            run_anew(fault);
            std::string what = fault.describe();
            bool log_is_whole = fault.kind != "power";
            for (int64_t more = i % 2 == 0 ? 0 : 1 + random_() % 3; more > 0; --more) {
                check_between(what);
                const Fault again = random_kill();
                what += ", then " + again.describe();
                log_is_whole = log_is_whole && again.kind != "power";
                run(has_checkpoint(), again);
            }
            finish(what, log_is_whole);
        }
        std::printf(
            "%lld kills at random instants (seed fixed; a run takes %lld ms), half of them with up to three more "
            "while resumed: survived\n",
            static_cast<long long>(kills), static_cast<long long>(duration_.count() / 1000));
    }

    // The signals of a polite stop, and an impatient one.
    void signal_each(size_t stride) {
        size_t sent = 0, begin = 0;
        for (const std::vector<int>& signals :
             {std::vector{SIGINT}, {SIGTERM}, {SIGHUP}, {SIGUSR1}, {SIGINT, SIGINT}}) {
            std::string kind = "signal";
            for (const int signal : signals) kind += " " + std::to_string(signal);
            for (size_t n = 1 + begin++ % stride; n <= trace_.size(); n += stride, ++sent) {
                const Fault fault{kind, n};
                const Ending ending = run_anew(fault);
                // A signal that comes while the adapter is written no longer stops anything.
                const bool done = ending.status == 0 && signals.size() == 1 && adapter() == expected_;
                require(ending.status == 130 || done, fault.describe(), ": status ", ending.status, "\n", ending.err);
                check_between(fault.describe());
                finish(fault.describe(), true);
            }
        }
        for (size_t n = 1; n <= trace_.size(); n += trace_.size() / 5, ++sent) {
            const Fault fault{concat("signal ", SIGHUP), n};
            wrapper_ = {"nohup"};
            const Ending ending = run_anew(fault);
            wrapper_.clear();
            require(ending.status == 0 && adapter() == expected_, "under nohup ", fault.describe(), ": status ",
                    ending.status, "\n", ending.err);
        }
        for (int i = 0; i < 10; ++i, ++sent) {
            const int64_t after = 1 + static_cast<int64_t>(random_() % duration_.count());
            wrapper_ = {"timeout", std::to_string(static_cast<double>(after) * 1e-6)};
            const Ending ending = run_anew({});
            const std::string what = wrapper_[0] + " " + wrapper_[1];
            wrapper_.clear();
            require(ending.status == 124 || (ending.status == 0 && adapter() == expected_), what, ": status ",
                    ending.status, "\n", ending.err);
            check_between(what);
            finish(what, true);
        }
        std::printf("%zu times signalled, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGINT twice, nohup, timeout: went on\n",
                    sent);
    }

    // A file system that fills up: a tmpfs that only the run sees, copied for us before it disappears.
    void fill_small_disks() {
        const std::string copy = folder_ / "copy";
        int full = 0;
        for (int kibibytes = 8;; kibibytes += 8) {
            fs::remove_all(out_);
            fs::remove_all(copy);
            fs::create_directory(out_);
            wrapper_ = {"unshare",
                        "-rm",
                        "sh",
                        "-c",
                        "mount -t tmpfs -o size=$2 none \"$1\" || exit 125; from=$1 to=$3; shift 3; \"$@\"; status=$?; "
                        "cp -a \"$from\" \"$to\"; exit $status",
                        "sh",
                        out_,
                        std::to_string(kibibytes) + "k",
                        copy};
            const Ending ending = run(false, {});
            wrapper_.clear();
            const std::string what = concat("a disk of ", kibibytes, " KiB");
            if (!fs::exists(copy)) {
                std::printf("small disks are left out, for no tmpfs may be mounted here: %s", ending.err.c_str());
                return;
            }
            fs::remove_all(out_);
            fs::rename(copy, out_);
            check_one_sentence(what, ending);
            check_between(what);
            if (ending.err.empty()) break;
            require(ending.err.find("No space left on device") != ending.err.npos, what, ":\n", ending.err);
            ++full;
            if (ending.status != 0) finish(what, false);
        }
        std::printf("%d small disks filled up, then one of enough room: survived\n", full);
    }

    // --out becomes read-only before an operation of the run, for the run alone; and its mode forbids writing, for
    // which root must give up the right to ignore that.
    void take_folder_away() {
        const int read_only = take_away({"unshare", "-rm"}, "Read-only file system", [&](pid_t process) {
            const std::string enter = concat("nsenter -t ", process, " -U -m --preserve-credentials "), out = out_;
            return std::system(concat(enter, "mount --bind ", out, " ", out, " && ", enter,
                                      "mount -o remount,bind,ro,nosuid,nodev,noexec ", out)
                                   .c_str()) == 0;
        });
        std::vector<std::string> unprivileged;
        if (::geteuid() == 0) unprivileged = {"setpriv", "--bounding-set", "-dac_override,-dac_read_search"};
        const int forbidden = take_away(unprivileged, "Permission denied", [&](pid_t) {
            fs::permissions(out_, fs::perms::owner_read | fs::perms::owner_exec);
            return true;
        });
        std::printf("%d times the folder became read-only, %d times its mode: survived\n", read_only, forbidden);
    }

    // Every operation of both runs, in every way it can go wrong.
    void fail_each(size_t stride) {
        size_t injected = 0;
        for (const bool resumed : {false, true}) {
            const std::string& trace = resumed ? resumed_trace_ : trace_;
            size_t begin = 0, of_this = 0;  // another first operation for each kind
            for (const std::string kind :
                 {"eio", "enospc", "full", "quota", "lost", "readonly", "short", "kill", "torn", "power"}) {
                for (size_t n = 1 + begin++ % stride; n <= trace.size(); n += stride) {
                    if ((kind == "short" || kind == "torn") && trace[n - 1] != 'w') continue;
                    inject({kind, n}, resumed);
                    ++of_this;
                }
            }
            std::printf("%zu faults over the %zu file operations of %s run, 10 kinds: survived\n", of_this,
                        trace.size(), resumed ? "a resumed" : "the whole");
            injected += of_this;
        }
        std::printf("%zu faults injected, stride %zu\n", injected, stride);
    }

  private:
    std::string adapter() const { return adapter_in(out_ / "adapter"); }

    static std::string adapter_in(const fs::path& folder) {
        return test::read(folder / "adapter_model.safetensors") + test::read(folder / "quaff.json");
    }

    // Calls `take` when the run has stopped before one of its operations; `take` returns false if it cannot work here.
    // Returns how often it worked.
    int take_away(const std::vector<std::string>& wrapper, const std::string& reason,
                  const std::function<bool(pid_t)>& take) {
        int taken = 0;
        bool possible = true;
        for (size_t n = 2; n <= trace_.size() && possible; n += trace_.size() / 8) {
            wrapper_ = wrapper;
            when_stopped_ = [&](pid_t process) {
                possible = take(process);
                taken += possible;
            };
            const int before = taken;
            const Ending ending = run_anew({concat("signal ", SIGSTOP), n});
            wrapper_.clear();
            when_stopped_ = nullptr;
            fs::permissions(out_, fs::perms::owner_all);
            if (taken == before) {
                std::printf("left out, for it cannot be made here: %s\n%s", reason.c_str(), ending.err.c_str());
                return taken;
            }
            const std::string what = concat(reason, " from operation ", n);
            check_one_sentence(what, ending);
            check_between(what);
            const bool told = ending.err.find(reason) != ending.err.npos;
            require(told || (ending.status == 0 && n > trace_.size() / 2), what, ": not told:\n", ending.err);
            if (ending.status != 0) finish(what, true);
        }
        return taken;
    }

    bool has_checkpoint() const { return fs::exists(out_) && !quaff::list_checkpoints(out_).empty(); }

    Fault random_kill() {
        // A run spends most of its time before the first step and most of its file operations on checkpoints.
        if (random_() % 4 == 0) return {"time", 0, static_cast<int64_t>(random_() % (duration_.count() + 1))};
        return {random_() % 2 ? "kill" : "power", 1 + random_() % trace_.size()};
    }

    Ending run_anew(const Fault& fault) {
        fs::remove_all(out_);
        return run(false, fault);
    }

    Ending run(bool resume, const Fault& fault) {
        std::vector<std::string> words = wrapper_;
        words.insert(words.end(), {program_, "train", "--device", "cpu", "--out", out_});
        const std::vector<std::string> rest = {"--model",
                                               folder_ / "model",
                                               "--data",
                                               folder_ / "train.jsonl",
                                               "--eval-split",
                                               "0",
                                               "--threads",
                                               "1",
                                               "--lora-r",
                                               "2",
                                               "--outlier-max-ratio",
                                               "0.125",
                                               "--learning-rate",
                                               "0.01",
                                               "--batch-size",
                                               "3",
                                               "--gradient-accumulation-steps",
                                               "2",
                                               "--max-steps",
                                               std::to_string(kSteps),
                                               "--save-steps",
                                               "1"};
        if (resume) words.push_back("--resume");
        if (!resume) words.insert(words.end(), rest.begin(), rest.end());
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);

        const std::string at = std::to_string(fault.at), err = folder_ / "err", trace = folder_ / "trace";
        std::fflush(stdout);
        const pid_t process = ::fork();
        require(process >= 0, "cannot fork");
        if (process == 0) {
            ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
            ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
            ::setenv("TMPDIR", folder_.path().c_str(), 1);
            ::setenv("LD_PRELOAD", libc_.c_str(), 1);
            ::setenv("FAULTS_UNDER", out_.c_str(), 1);
            ::setenv("FAULTS_KIND", fault.kind.c_str(), 1);
            ::setenv("FAULTS_AT", at.c_str(), 1);
            ::setenv("FAULTS_TRACE", trace.c_str(), 1);
            ::execvp(argv[0], argv.data());
            ::_exit(127);
        }
        if (fault.kind == "time") {
            ::usleep(static_cast<useconds_t>(fault.microseconds));
            ::kill(process, SIGKILL);  // not yet waited for: still this process
        }
        int status = 0;
        ::waitpid(process, &status, when_stopped_ ? WUNTRACED : 0);
        if (WIFSTOPPED(status)) {
            when_stopped_(process);
            ::kill(process, SIGCONT);
            ::waitpid(process, &status, 0);
        }
        const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        require(killed || WIFEXITED(status), fault.describe(), ": the program died of signal ", WTERMSIG(status), ":\n",
                test::read(err));
        return {killed, killed ? -1 : WEXITSTATUS(status), test::read(err)};
    }

    void inject(const Fault& fault, bool resumed) {
        const std::string what = (resumed ? "resumed, " : "") + fault.describe();
        fs::remove_all(out_);
        if (resumed) fs::copy(folder_ / "half", out_, fs::copy_options::recursive);
        const Ending ending = run(resumed, fault);
        if (fault.kills()) {
            require(ending.killed, what, ": the run was not killed");
        } else {
            check_one_sentence(what, ending);
            if (fault.kind == "short") require(ending.status == 0, what, ": failed:\n", ending.err);
        }
        check_between(what);
        if (ending.status == 0) return;  // done: there is nothing to resume
        finish(what, fault.kind == "kill" || fault.kind == "torn");
    }

    // What a run that was not killed says.
    void check_one_sentence(const std::string& what, const Ending& ending) const {
        require(ending.status == 0 || ending.status == 1, what, ": status ", ending.status, "\n", ending.err);
        if (ending.status == 0) require(adapter() == expected_, what, ": done, but the adapter is another one");
        std::istringstream lines(ending.err);
        int complaints = 0;
        for (std::string line; std::getline(lines, line);) complaints += line.starts_with("train_quaff: ");
        require(complaints == ending.status, what, ": not one sentence:\n", ending.err);
        if (ending.err.find("train_quaff: the adapter: ") != ending.err.npos) check_rescued(what, ending.err);
    }

    // All steps have been taken: their result is in a checkpoint, or where the message says.
    void check_rescued(const std::string& what, const std::string& err) const {
        if (fs::exists(out_ / concat("checkpoint-", kSteps))) return;
        const std::string before = "; it is now in ";
        const size_t at = err.find(before);
        require(at != err.npos, what, ": the adapter is lost:\n", err);
        const size_t begin = at + before.size();
        const fs::path folder = err.substr(begin, err.find(';', begin) - begin);
        require(adapter_in(folder) == expected_, what, ": ", folder.string(), " does not have the adapter");
        fs::remove_all(folder);
    }

    // What holds before anything is repaired.
    void check_between(const std::string& what) const {
        if (has_checkpoint()) {
            const std::string damage = quaff::find_damage(quaff::list_checkpoints(out_)[0]);
            require(damage.empty(), what, ": the newest checkpoint is damaged: ", damage);
        }
        require(!fs::exists(out_ / "adapter") || adapter() == expected_, what, ": the adapter is not whole");
    }

    void finish(const std::string& what, bool log_is_whole) {
        const bool resume = has_checkpoint();
        const Ending ending = run(resume, {});
        require(ending.status == 0, what, ": ", resume ? "resuming" : "starting anew", " failed:\n", ending.err);
        require(adapter() == expected_, what, ": another adapter than that of an undisturbed run");
        for (const auto& entry : fs::directory_iterator(out_))
            require(!entry.path().filename().string().starts_with("."), what, ": ", entry.path().string(), " is left");
        if (!log_is_whole) return;
        std::istringstream log(test::read(out_ / "log.jsonl"));
        int64_t step = 0;
        for (std::string line; std::getline(log, line);)
            require(nlohmann::json::parse(line).at("step") == ++step, what, ": the log does not have each step once");
        require(step == kSteps, what, ": the log ends with step ", step);
    }

    test::TempDir folder_;
    const fs::path out_ = folder_ / "out";
    std::vector<std::string> wrapper_;         // in front of the program
    std::function<void(pid_t)> when_stopped_;  // called when it has stopped itself; then it continues
    std::string program_, libc_, trace_, resumed_trace_, expected_;
    std::chrono::microseconds duration_{};
    std::mt19937 random_;
};

int64_t number(int argc, char** argv, int i, int64_t otherwise) {
    return i < argc ? std::atoll(argv[i]) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s PROGRAM FAULTY_LIBC [KILLS [STRIDE [SEED]]]\n", argv[0]);
        return 2;
    }
    try {
        CrashTest crash(fs::absolute(argv[1]), fs::absolute(argv[2]), static_cast<unsigned>(number(argc, argv, 5, 1)));
        crash.kill_at_random(number(argc, argv, 3, 200));
        const auto stride = static_cast<size_t>(std::max<int64_t>(1, number(argc, argv, 4, 1)));
        crash.signal_each(4 * stride);
        crash.fill_small_disks();
        crash.take_folder_away();
        crash.fail_each(stride);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "crash_test: %s\n", error.what());
        return 1;
    }
}
