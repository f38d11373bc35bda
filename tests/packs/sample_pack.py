"""A small pack with the ways in which descriptions say things: inheritance, memories old and new, two processors."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

DESCRIPTION = """<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.7.36">
  <vendor>Acme</vendor>
  <name>Rocket_DFP</name>
  <description>Devices that do not exist</description>
  <url>https://example.com/</url>
  <releases>
    <release version="1.2.0" date="2024-01-01">Variants</release>
    <release version="1.1.0">First</release>
  </releases>
  <devices>
    <family Dfamily="Rocket Series" Dvendor="Acme:999">
      <processor Dcore="Cortex-M4" DcoreVersion="r0p1" Dfpu="SP_FPU" Dmpu="MPU" Dendian="Little-endian"
                 Dclock="80000000"/>
      <memory name="Boot" access="rx" start="0x1FFF0000" size="0x7000"/>
      <algorithm name="Flash\\Rocket_All.FLM" start="0x08000000" size="0x100000" default="1"/>
      <debug svd="SVD/Rocket.svd"/>
      <subFamily DsubFamily="RK1">
        <processor Dclock="0x7270E00"/>
        <memory name="SRAM1" access="rwx" start="0x20000000" size="0x30000" default="1"/>
        <memory name="SRAM2" access="rwx" start="0x10000000" size="0x10000"/>
        <debug svd="SVD/RK1.svd"/>
        <device Dname="RK100A">
          <memory name="Flash" access="rx" start="0x08000000" size="0x100000" default="1" startup="1"/>
          <variant Dvariant="RK100AX">
            <processor Dclock="100000000"/>
            <memory name="SRAM1" start="0x20000000" size="0x20000"/>
            <algorithm name="Flash/Rocket_X.FLM" start="0x08000000" size="0x100000" default="1"/>
          </variant>
        </device>
        <device Dname="RK100B">
          <memory name="Bank1" access="rx" start="0x08000000" size="0x40000" default="1" startup="1"/>
          <memory name="Bank2" access="rx" start="0x08040000" size="0x40000" default="1"/>
        </device>
      </subFamily>
      <device Dname="RK050">
        <processor Dcore="Cortex-M0+" Dfpu="0" Dclock="64000000"/>
        <memory id="IROM1" start="0x08000000" size="0x20000" startup="1" default="1"/>
        <memory id="IRAM1" start="0x20000000" size="0x9000" init="0" default="1"/>
      </device>
    </family>
    <family Dfamily="Twin Series" Dvendor="Acme:999">
      <processor Pname="fast" Dcore="Cortex-M7" Dfpu="DP_FPU" Dclock="480000000"/>
      <processor Pname="slow" Dcore="Cortex-M4" Dfpu="SP_FPU" Dclock="240000000"/>
      <processor Dendian="Little-endian"/>
      <debug Pname="slow" svd="SVD/slow.svd"/>
      <device Dname="TW747">
        <memory Pname="fast" name="Flash1" access="rx" start="0x08000000" size="0x100000" startup="1" default="1"/>
        <memory Pname="slow" name="Flash2" access="rx" start="0x08100000" size="0x100000" startup="1" default="1"/>
        <memory Pname="fast" name="DTCM" access="rw" start="0x20000000" size="0x20000"/>
        <memory name="AXI" access="rwx" start="0x24000000" size="0x80000" default="1"/>
      </device>
    </family>
    <family Dfamily="Helium Series" Dvendor="Acme:999">
      <processor Dcore="Cortex-M55" Dfpu="DP_FPU" Dmve="FP_MVE" Ddsp="DSP" Dtz="TZ" Dclock="400000000"/>
      <device Dname="HE55">
        <memory name="Code_NS" access="rx" start="0x00000000" size="0x80000" alias="Code_S"/>
        <memory name="Code_S" access="rx" start="0x10000000" size="0x80000" default="1" startup="1"/>
        <memory name="Data_NS" access="rwx" start="0x20000000" size="0x80000" alias="Data_S"/>
        <memory name="Data_S" access="rwx" start="0x30000000" size="0x80000" default="1"/>
        <memory name="Registers" access="rwp" start="0x40000000" size="0x10000000"/>
      </device>
      <device Dname="HE55-INT">
        <processor Dmve="MVE" Dfpu="NO_FPU"/>
        <memory name="Sram" access="rwx" start="0x20000000" size="0x80000" default="1"/>
      </device>
      <device Dname="HE33">
        <processor Dcore="Cortex-M33" Dfpu="SP_FPU" Dmve="NO_MVE" Ddsp="NO_DSP" Dclock="200000000"/>
        <memory name="Flash" access="rx" start="0x08000000" size="0x80000"/>
        <memory name="Sram" access="rwx" start="0x20000000" size="0x80000"/>
      </device>
    </family>
    <family Dfamily="Odd Series" Dvendor="Acme:999">
      <device Dname="ODD_A7">
        <processor Dcore="Cortex-A7" Dclock="1000000000"/>
        <memory name="Ram" access="rwx" start="0x20000000" size="0x80000"/>
      </device>
      <device Dname="ODD_BIG">
        <processor Dcore="Cortex-M3" Dendian="Big-endian" Dclock="1000000"/>
        <memory name="Ram" access="rwx" start="0x20000000" size="0x80000"/>
      </device>
      <device Dname="ODD_ROM">
        <processor Dcore="Cortex-M3" Dclock="1000000"/>
        <memory name="Rom" access="rx" start="0" size="0x80000"/>
      </device>
      <device Dname="ODD_STILL">
        <processor Dcore="Cortex-M3"/>
        <memory name="Ram" access="rwx" start="0x20000000" size="0x80000"/>
      </device>
      <device Dname="ODD_SIZE">
        <processor Dcore="Cortex-M3" Dclock="1000000"/>
        <memory name="Ram" access="rwx" start="0x20000000" size="lots"/>
      </device>
      <device Dname="ODD_NONE"/>
    </family>
  </devices>
</package>
"""


def write_description(folder: Path, text: str | bytes = DESCRIPTION, name: str = "Acme.Rocket_DFP.pdsc") -> Path:
    """The description as a file."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def archive(files: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of these files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return stream.getvalue()


def write_pack(folder: Path, files: dict[str, str | bytes], name: str = "Acme.Rocket_DFP.1.2.0.pack") -> Path:
    """A ``.pack`` of these files."""
    path = folder / name
    path.write_bytes(archive(files))
    return path
