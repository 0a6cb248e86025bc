// tokenizer.model: what stands between a file of anybody's and the SentencePiece library, and the library behind it.
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    folder.write("tokenizer.model", fuzz::text_of(data, size));
    return fuzz::check(size, [] { fuzz::use_tokenizer(folder.path()); });
}
