// tokenizer.model: the check between untrusted files and the SentencePiece library, and the library itself.
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    folder.write("tokenizer.model", fuzz::text_of(data, size));
    return fuzz::check(size, [] { fuzz::use_tokenizer(folder.path()); });
}
