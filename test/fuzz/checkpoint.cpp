// A checkpoint's own files: the bytes as state.json and, first byte 'm', as manifest.sha256 beside it.
#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/training/training_state.h"
#include "test/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    static const std::filesystem::path checkpoint = [] {
        std::filesystem::create_directory(folder / "checkpoint-7");
        return folder / "checkpoint-7";
    }();
    if (size > 0 && data[0] == 'm') {
        folder.write("checkpoint-7/manifest.sha256", fuzz::text_of(data + 1, size - 1));
        return fuzz::check(size, [&] { quaff::checkpoint_to_resume(folder.path(), [](const std::string&) {}); });
    }
    folder.write("checkpoint-7/state.json", fuzz::text_of(data, size));
    return fuzz::check(size, [&] {
        const quaff::TrainingState state = quaff::read_state(checkpoint);
        quaff::check_resumable(state, state, "checkpoint-7");
    });
}
