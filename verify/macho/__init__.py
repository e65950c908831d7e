"""A macOS wheel judged by its bytes, on any host: nothing of it is executed.

The formats are Mach-O (``<mach-o/loader.h>``, ``<mach-o/nlist.h>``, ``<mach-o/fixup-chains.h>``)
and the embedded code signature (``cs_blobs.h`` of Apple's open-source kernel); docs/macho.md says
which check reads what, and what none of them can show.
"""
