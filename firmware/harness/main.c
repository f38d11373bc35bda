/* The measuring firmware: runs the model on inputs from the console; see protocol.h. */
#include "inference.h"
#include "port.h"
#include "protocol.h"

int main(void) {
  port_init();
  inference_reset();
  text_greeting();
  for (;;) {
    int byte = port_getc();
    if (byte < 0) {
      return 0;
    }
    if (byte != BLOCK_SYNC) {
      text_character((char)byte);
    } else if (!block_frame()) {
      return 0;
    }
  }
}
