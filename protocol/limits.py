"""Every number that bounds the wire, in one place. docs/protocol.md section 4 explains them."""

PROTOCOL_VERSION = 1
SUPPORTED_VERSIONS = (1,)

MIB = 1 << 20

MAX_FRAMES = 17  # one header and at most 16 buffers
MAX_HEADER_BYTES = 256 * 1024
MAX_BUFFER_BYTES = 64 * MIB
MAX_MESSAGE_BYTES = 128 * MIB
MAX_COMMAND_BYTES = 8 * MIB  # what a client may send in one message: a chunk and some room
MAX_DEPTH = 8  # of maps and arrays in a header
MAX_TEXT = 8 * 1024  # bytes of one string anywhere in a header
MAX_ITEMS = 1024  # entries of one map or array anywhere in a header
MAX_DIMENSIONS = 4

MAX_SEEDS = 16  # of a request for views
MAX_VIEWS = 32  # sides of one object in a message

MIN_CHUNK_BYTES = 1 * MIB
CHUNK_BYTES = 2 * MIB
MAX_CHUNK_BYTES = 4 * MIB
MAX_BLOB_BYTES = 256 * MIB

DTYPES = {"uint8": 1, "int32": 4, "uint32": 4, "float16": 2, "float32": 4}  # name to bytes each; little endian

PING_SECONDS = 2.0  # a client that has heard nothing for this long asks
SERVER_SILENCE_SECONDS = 8.0  # after this much silence the server counts as gone
CLIENT_SILENCE_SECONDS = 30.0  # after this much silence the server forgets a client's session
