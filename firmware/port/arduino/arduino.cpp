// Arduino: Serial as console; the core's cycle counter where it has one that is known, else micros().
#include <Arduino.h>

#if !defined(ESP_PLATFORM)
#include "cycles.h"
#endif

extern "C" {
#include "port.h"

int measure(void);
}

void setup() {
  measure();
}

void loop() {}

extern "C" {

#if !defined(ESP_PLATFORM)
static bool has_cycle_counter;
#endif

void port_init(void) {
  Serial.begin(TINYOPT_BAUD_RATE);
  while (!Serial) {
    // boards whose serial port is USB itself: until a host opens it
  }
#if !defined(ESP_PLATFORM)
  has_cycle_counter = cycles_start();
#endif
#if defined(TINYOPT_TIMESTAMP_PIN)
  pinMode(TINYOPT_TIMESTAMP_PIN, OUTPUT);
  digitalWrite(TINYOPT_TIMESTAMP_PIN, HIGH);
#endif
}

int port_getc(void) {
  for (;;) {
    int byte = Serial.read();
    if (byte >= 0) {
      return byte;
    }
    yield();
  }
}

void port_putc(uint8_t byte) {
  Serial.write(byte);
}

void port_flush(void) {
  Serial.flush();
}

#if defined(ESP_PLATFORM)

uint32_t port_counter(void) {
  return ESP.getCycleCount();
}

uint32_t port_counter_hz(void) {
  return ESP.getCpuFreqMHz() * 1000000u;
}

#else

uint32_t port_counter(void) {
  return has_cycle_counter ? cycles_now() : micros();
}

uint32_t port_counter_hz(void) {
  return has_cycle_counter ? TINYOPT_CLOCK_HZ : 1000000u;
}

#endif

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

// The frameworks' memory maps differ: none is assumed.
void port_stack_paint(void) {}

uint32_t port_stack_used(void) {
  return PORT_STACK_UNKNOWN;
}

#if defined(TINYOPT_TIMESTAMP_PIN)
void port_timestamp_pin(void) {
  digitalWrite(TINYOPT_TIMESTAMP_PIN, LOW);
  delayMicroseconds(50);
  digitalWrite(TINYOPT_TIMESTAMP_PIN, HIGH);
}
#endif
}
