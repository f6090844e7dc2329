"""The sync path: pages of a window, prefetched by workers, emitted in time order."""
