/* The two languages of the measuring firmware, on one console.
 *
 * Text: the commands of the MLPerf Tiny device interface, ended by '%'. Every reply ends with "m-ready". See text.c.
 *
 * Blocks, for speed: a byte that is no ASCII character opens a frame. All numbers are little-endian.
 *
 *   offset 0  BLOCK_SYNC
 *          1  type
 *          2  sequence number, 16 bits; a reply repeats the one of its request
 *          4  payload length in bytes, 24 bits
 *          7  check: CRC-8 of bytes 1 to 6 (polynomial x^8 + x^2 + x + 1, start 0xFF)
 *          8  payload
 *    8 + n    CRC-32 (IEEE 802.3) of bytes 1 to 7 + n
 *
 *   request         payload                     reply payload
 *   BLOCK_HELLO     -                           see block.c: version, counter, sizes, identity, name
 *   BLOCK_RUN       flags (8 bits), inputs *    count (32), stack (32), outputs
 *   BLOCK_RESET     -                           -
 *   BLOCK_LAYERS    -                           one 32-bit count per layer, from the last run with BLOCK_RUN_LAYERS
 *   BLOCK_REPEAT    runs (32)                   count of all runs (64); see inference_repeat
 *   BLOCK_PING      -                           -
 *
 *   * or nothing, to run the inputs of the run before again, where the firmware keeps them
 *
 * A reply has the type of its request plus BLOCK_REPLY; BLOCK_ERROR carries one byte, the reason. A device never
 * speaks first.
 *
 * Nothing is lost or done twice. A host that gets no reply, or a damaged one, sends the same frame again with the same
 * sequence number; the device answers a request that it has carried out with the reply of then, and does not run the
 * model again. BLOCK_HELLO opens a session and forgets what was before. A device that has no session, because it was
 * reset or a text command has run the model meanwhile, refuses whatever touches the model with BLOCK_NO_SESSION: the
 * host learns that states and inputs are gone. A frame that cannot be (longer than any request) is refused at its
 * header. A host that lost track sends zero bytes until the device must have left its frame, then its request again.
 */
#ifndef TINYOPT_PROTOCOL_H
#define TINYOPT_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_VERSION 2u
#define BLOCK_SYNC 0xA7u

enum {
  BLOCK_HELLO = 1,
  BLOCK_RUN = 2,
  BLOCK_RESET = 3,
  BLOCK_LAYERS = 4,
  BLOCK_REPEAT = 5,
  BLOCK_PING = 6,
  BLOCK_REPLY = 0x80,
  BLOCK_ERROR = 0xFF,
};

enum { BLOCK_RUN_LAYERS = 1, BLOCK_RUN_STACK = 2 };

enum {
  BLOCK_BAD_CHECK = 1,  /* header or payload arrived damaged */
  BLOCK_BAD_LENGTH = 2, /* the payload has the wrong size for its type */
  BLOCK_BAD_TYPE = 3,   /* no such request */
  BLOCK_NO_SESSION = 4, /* no BLOCK_HELLO since the device started, or since a text command ran the model */
};

/* Handles one frame after its BLOCK_SYNC was read. False when the console was closed. */
bool block_frame(void);

/* Ends the session of the block protocol: somebody else uses the model. */
void block_end_session(void);

/* Handles one character of a text command. */
void text_character(char character);

/* Forgets the beginning of a text command. */
void text_forget(void);

/* Prints the greeting of a device that is ready. */
void text_greeting(void);

#endif
