#!/usr/bin/env python3
"""Tests of fetch_model.sh against a server on this machine. Python's standard library, bash and curl are all they need."""

import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest

SCRIPT = pathlib.Path(__file__).parent / "fetch_model.sh"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 1000
FILES = {
    "config.json": b"{}\n",
    "tokenizer.json": b'{"version": "1.0"}\n',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"never fetched",
    ".gitattributes": b"never fetched",
    "README.md": b"never fetched",
}


def checksum(content, is_large):
    if is_large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """The hub's layout: a list of files, small ones behind a relative redirect, large ones on another path."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.cuts = []  # bytes after which each answer of a large file is cut off
        self.corrupt = False
        self.is_busy = False
        self.ranges = True
        self.asked = []  # (method, path, Range)
        self.token = None


class Answer(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b"", cut=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        hub.asked.append((self.command, self.path, self.headers.get("Range")))
        if self.path.startswith("/api/models/org/gated") and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401)
        for model in ("gated", "open", "bare"):
            if self.path in (f"/api/models/org/{model}/revision/main", f"/api/models/org/{model}/revision/v1"):
                names = ["config.json", "pytorch_model.bin"] if model == "bare" else list(FILES) + ["onnx/model.json"]
                siblings = [{"rfilename": name} for name in names]
                return self.answer(200, body=json.dumps({"id": f"org/{model}", "sha": COMMIT, "siblings": siblings}).encode())
            start = f"/org/{model}/resolve/{COMMIT}/"
            if self.path.startswith(start):
                name = self.path[len(start):]
                tag = f'"{checksum(FILES[name], name == "model.safetensors")}"'
                if name == "model.safetensors":
                    return self.answer(302, [("X-Linked-Etag", tag), ("Etag", '"of the redirect"'), ("Location", f"{hub.url}/large")])
                return self.answer(307, [("Location", f"/small/{name}")])
        if self.path.startswith("/small/"):
            content = FILES[self.path[len("/small/"):]]
            return self.answer(200, [("Etag", f'W/"{checksum(content, False)}"')], content)
        if self.path == "/large":
            return self.large()
        return self.answer(404)

    def large(self):
        hub, body, status, headers = self.server, WEIGHTS, 200, []
        if hub.is_busy and self.command == "GET":
            return self.answer(503)
        if hub.corrupt:
            body = b"?" + body[1:]
        if self.headers.get("Range") and hub.ranges:
            first = int(self.headers["Range"][len("bytes="):].split("-")[0])
            if first >= len(body):
                return self.answer(416)
            status, headers = 206, [("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")]
            body = body[first:]
        self.answer(status, headers, body, hub.cuts.pop(0) if hub.cuts and self.command == "GET" else None)


class FetchModel(unittest.TestCase):
    def setUp(self):
        self.hub = Hub()
        thread = threading.Thread(target=self.hub.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.hub.server_close)
        self.addCleanup(self.hub.shutdown)
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.cache = folder / "cache"
        self.bin = folder / "bin"  # the tools without any hf
        self.bin.mkdir()
        for tool in ("bash basename cat curl env flock grep head ln mkdir mktemp mv rm sed sha1sum sha256sum stat tail").split():
            (self.bin / tool).symlink_to(shutil.which(tool))

    def run_script(self, *arguments, **variables):
        environment = {"PATH": str(self.bin), "HOME": "/nowhere", "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.url}
        environment |= {"no_proxy": "127.0.0.1"} | variables
        return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True)

    def folder(self, model="open"):
        return self.cache / f"models--org--{model}"

    def check_whole(self, model="open"):
        self.assertEqual((self.folder(model) / "refs/main").read_text(), COMMIT)
        snapshot = self.folder(model) / "snapshots" / COMMIT
        self.assertEqual(sorted(os.listdir(snapshot)), ["config.json", "model.safetensors", "tokenizer.json"])
        for path in snapshot.iterdir():
            self.assertTrue(path.is_symlink())
            self.assertEqual(path.read_bytes(), FILES[path.name])
        self.assertEqual(list((self.folder(model) / "blobs").glob("*.incomplete")), [])

    def check_refused(self, ending, *words):
        self.assertEqual(ending.returncode, 1, ending.stderr)
        for word in words:
            self.assertIn(word, ending.stderr)
        for model in ("open", "gated", "bare", "unknown"):
            self.assertFalse((self.folder(model) / "refs/main").exists())

    def test_fetches_what_the_program_reads_into_the_layout_of_the_cache(self):
        ending = self.run_script("org/open")
        self.assertEqual(ending.returncode, 0, ending.stderr)
        self.assertEqual(ending.stdout.strip(), str(self.folder() / "snapshots" / COMMIT))
        self.check_whole()
        self.hub.asked.clear()
        self.assertEqual(self.run_script("org/open", "v1").returncode, 0)
        self.assertEqual([path for method, path, _ in self.hub.asked if method == "GET" and not path.startswith("/api")], [])

    def test_an_interrupted_file_is_continued_at_once(self):
        self.hub.cuts = [1000, 50000]
        ending = self.run_script("org/open")
        self.assertEqual(ending.returncode, 0, ending.stderr)
        self.check_whole()
        self.assertIn(("GET", "/large", "bytes=51000-"), self.hub.asked)

    def test_an_interrupted_file_is_continued_by_the_next_call(self):
        self.hub.cuts = [1000, 0]
        self.check_refused(self.run_script("org/open"), "model.safetensors was interrupted at 1000 bytes")
        self.assertEqual(self.run_script("org/open").returncode, 0)
        self.check_whole()
        self.assertIn(("GET", "/large", "bytes=1000-"), self.hub.asked)

    def test_a_server_without_ranges_is_asked_for_the_whole_again(self):
        self.hub.cuts, self.hub.ranges = [1000], False
        ending = self.run_script("org/open")
        self.assertEqual(ending.returncode, 0, ending.stderr)
        self.check_whole()

    def test_a_file_that_was_complete_but_unchecked_is_kept(self):
        self.assertEqual(self.run_script("org/open").returncode, 0)
        blob = self.folder() / "blobs" / checksum(WEIGHTS, True)
        blob.rename(f"{blob}.incomplete")
        self.hub.asked.clear()
        self.assertEqual(self.run_script("org/open").returncode, 0)
        self.check_whole()
        self.assertNotIn("GET", [method for method, path, _ in self.hub.asked if path == "/large"])

    def test_a_corrupt_file_is_refused_and_removed(self):
        self.hub.corrupt = True
        self.check_refused(self.run_script("org/open"), "model.safetensors is not what", "checksum differs")
        self.assertFalse((self.folder() / "blobs" / checksum(WEIGHTS, True)).exists())
        self.hub.corrupt = False
        self.assertEqual(self.run_script("org/open").returncode, 0)
        self.check_whole()

    def test_unknown_gated_and_unreadable_models_are_refused_in_a_sentence(self):
        self.check_refused(self.run_script("org/unknown"), "org/unknown is not at", "check the name")
        self.check_refused(self.run_script("org/open", "v2"), "(v2)")
        self.check_refused(self.run_script("org/gated"), "org/gated asks for permission (401)", "HF_TOKEN")
        self.check_refused(self.run_script("org/bare"), "no model.safetensors")
        self.check_refused(self.run_script("org/open", HF_ENDPOINT="http://127.0.0.1:1"), "cannot be reached")
        for wrong in ([], ["open"], ["org/../open"], ["org/open", "main", "more"]):
            self.assertEqual(self.run_script(*wrong).returncode, 2)

    def test_a_token_opens_a_gated_model(self):
        self.hub.token = "made-up"
        ending = self.run_script("org/gated", HF_TOKEN="made-up")
        self.assertEqual(ending.returncode, 0, ending.stderr)
        self.check_whole("gated")

    def test_hf_is_used_where_it_is_installed(self):
        hf = self.bin / "hf"
        snapshot = f"$HF_HUB_CACHE/models--org--open/snapshots/{COMMIT}"
        hf.write_text(f'#!/bin/bash\necho "$@" >"{self.bin}/told"\nmkdir -p "{snapshot}"\n'
                      f'while [[ $3 != --* ]]; do : >"{snapshot}/$3"; shift; done\necho words of its own\n')
        hf.chmod(0o755)
        ending = self.run_script("org/open", "v1")
        self.assertEqual(ending.returncode, 0, ending.stderr)
        names = [name for name in FILES if name not in ("pytorch_model.bin", ".gitattributes", "README.md")]
        self.assertEqual((self.bin / "told").read_text(), f"download org/open {' '.join(names)} --revision {COMMIT}\n")
        self.assertEqual((self.folder() / "refs/main").read_text(), COMMIT)
        self.assertEqual(ending.stdout, f"{self.folder()}/snapshots/{COMMIT}\n")
        self.assertEqual(len(self.hub.asked), 1)  # for the list

    def test_hf_that_leaves_a_file_out_is_an_error(self):
        hf = self.bin / "hf"
        hf.write_text("#!/bin/bash\n")
        hf.chmod(0o755)
        ending = self.run_script("org/open")
        self.assertEqual(ending.returncode, 1)
        self.assertIn("did not put", ending.stderr)
        self.assertFalse((self.folder() / "refs/main").exists())

    def test_a_busy_hub_costs_nothing_of_what_is_there(self):
        self.hub.cuts = [1000, 0]
        self.assertEqual(self.run_script("org/open").returncode, 1)
        part = self.folder() / "blobs" / (checksum(WEIGHTS, True) + ".incomplete")
        self.assertEqual(part.stat().st_size, 1000)
        self.hub.is_busy = True
        ending = self.run_script("org/open")
        self.assertEqual(ending.returncode, 1)
        self.assertIn("answered 503", ending.stderr)
        self.assertEqual(part.stat().st_size, 1000)
        self.hub.is_busy = False
        self.assertEqual(self.run_script("org/open").returncode, 0)
        self.check_whole("open")


if __name__ == "__main__":
    unittest.main()
