# SPDX-License-Identifier: GPL-2.0-only
"""What mprotect, madvise, fork, swap and userfaultfd do to the host's page tables.

Functions over one slot's :class:`HostMemory`. Each returns the ranges [first page, count) that the
MMU notifier takes from stage 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from reference_model.memory import Advice, HostMemory, HostPage, HostProt, Uffd
from reference_model.unpredictable import UndefinedError

Ranges = list[tuple[int, int]]

#: Pages in a PMD block where pages have 4K.
_PMD_PAGES_4K = 512


def split_edges(memory: HostMemory, first: int, count: int) -> Ranges:
    """__split_huge_pmd of the huge pages that a range ends inside."""
    out: Ranges = []
    for page in (first, first + count - 1):
        block, pages = memory.block_around(page)
        inside = first <= block and block + pages <= first + count
        if pages > 1 and not inside:
            memory.split_block(page)
            out.append((block, pages))
    return out


def split_vma(memory: HostMemory, first: int, count: int) -> Ranges:
    """The VMA that a range lies in gets other flags there, or goes there: vma_adjust_trans_huge.

    Where an edge lies inside a PMD block that the VMA holds as a whole, the notifier takes that
    block, whether a huge page is there or not (__split_huge_pmd).
    """
    out: Ranges = []
    start, stop = memory.vma(first)
    for edge, low in ((first, start), (first + count, first)):
        if edge in (start, stop):
            continue
        block = (memory.hva + edge) // memory.pmd_pages * memory.pmd_pages - memory.hva
        if low <= block < edge and block + memory.pmd_pages <= stop:
            out.append((block, memory.pmd_pages))
            if not memory.is_hugetlb:
                memory.split_block(edge)
    return out


def retag(
    memory: HostMemory,
    pages: Iterable[int],
    tag: Callable[[int], None],
    apart: int | None = None,
) -> Ranges:
    """Pages get other flags of their VMA, one VMA after the other (vma_modify, vma_merge).

    ``apart``: what begins at this page is not merged with what ends there.
    """
    ranges: Ranges = []
    for start, count in runs_of(pages):
        at = start
        while at < start + count:
            end = min(memory.vma(at)[1], start + count)
            ranges += split_vma(memory, at, end - at)
            for page in range(at, end):
                tag(page)
            if end == apart:
                memory.set_seam(end)
            memory.merge_around(at, end)
            at = end
    return ranges


def zap(memory: HostMemory, first: int, count: int) -> Ranges:
    """zap_page_range: the entries go; anonymous content with them, a file's stays."""
    if count <= 0:
        return []
    ranges = [(first, count), *split_edges(memory, first, count)]
    memory.drop(first, count)
    return ranges


def dontneed(memory: HostMemory, first: int, count: int) -> Ranges:
    """MADV_DONTNEED, which may free emptied page tables too."""
    ranges = zap(memory, first, count)
    if memory.knobs.dontneed_frees_tables:
        memory.free_tables(first, count)
    return ranges


def by_vma(
    memory: HostMemory, first: int, count: int, change: Callable[[HostMemory, int, int], Ranges]
) -> Ranges:
    """A change of each VMA's part of a range (madvise_walk_vmas)."""
    ranges: Ranges = []
    at = first
    while at < first + count:
        stop = min(memory.vma(at)[1], first + count)
        ranges += change(memory, at, stop - at)
        at = stop
    return ranges


def free(memory: HostMemory, first: int, count: int) -> Ranges:
    """MADV_FREE: the entries become clean; without memory pressure the content stays.

    What is in swap is gone at once. What stays is dropped by the next MADV_PAGEOUT, unless it is
    stored to (folio_mark_lazyfree).
    """
    ranges = [(first, count)]
    for start, length in _freed_parts(memory, first, count):
        ranges += _break_up(memory, start, length)
        for page in range(start, start + length):
            state = memory.state(page)
            if state is HostPage.SWAP:
                memory.clear(page)
                memory.forget(page)
            elif state is HostPage.ANON:
                memory.set_lazy(page)
    return ranges


def _freed_parts(memory: HostMemory, first: int, count: int) -> Ranges:
    """What MADV_FREE really takes of a range.

    6.1 gives up on the rest of a PMD's range at a huge page whose first part is not mapped: it
    takes that part's map count for the number of those who share the huge page.
    """
    if not memory.knobs.free_asks_first_part or memory.huge_pages == 1:
        return [(first, count)]
    out: Ranges = []
    at = first
    while at < first + count:
        stop = min(at + memory.huge_pages - (memory.hva + at) % memory.huge_pages, first + count)
        end = next((page for page in range(at, stop) if _lacks_first_part(memory, page)), stop)
        out.append((at, end - at))
        at = stop
    return out


def _lacks_first_part(memory: HostMemory, page: int) -> bool:
    parts = memory.parts(page)
    return bool(parts) and (memory.hva + parts[0]) % memory.huge_pages != 0


def _break_up(memory: HostMemory, first: int, count: int) -> Ranges:
    """split_huge_page of huge pages that the range has only a part of: all of them is unmapped.

    Up to 6.1 also of whole ones that are mapped by entries of pages, and later of those whose
    entries are joined in some places alone.

    The huge zero page stays as it is, and mapped.
    """
    out: Ranges = []
    inside = range(first, first + count)
    for page in inside:
        parts = memory.parts(page)
        whole = len(parts) == memory.huge_pages
        kept = whole and parts[0] in inside and parts[-1] in inside
        if kept and memory.knobs.splits_mapped_parts:
            kept = memory.block_around(page)[1] > 1
        kept = kept and memory.looks_whole(page)
        if parts and not kept:
            out += _where_it_was(memory, page, parts)
            memory.break_up(page)
    return out


def _where_it_was(memory: HostMemory, page: int, parts: Sequence[int]) -> Ranges:
    """What try_to_migrate invalidates of a huge page that is split, whatever is there by now.

    All of where it was (split_huge_pmd_address), or as much as rmap_walk_anon goes through: one
    VMA after another of its anon_vma, until none of its parts is mapped.
    """
    lead = (memory.hva + page) % memory.huge_pages
    at, stop = page - lead, page - lead + memory.huge_pages
    if memory.knobs.split_takes_block:
        return [(at, memory.huge_pages)]
    out: Ranges = []
    last = max(parts)
    while at <= last:
        end = min(memory.vma(at)[1], stop)
        if memory.anon_vma(at) == memory.anon_vma(page):
            out.append((at, end - at))
        at = end
    return out


def protect(memory: HostMemory, first: int, count: int, prot: HostProt) -> Ranges:
    """mprotect: nothing where the protection is that already; else change_protection."""
    allowed = {page: memory.prot(page) for page in range(first, first + count)}
    changed = {page: before for page, before in allowed.items() if before != prot}

    def tag(page: int) -> None:
        memory.set_prot(page, prot)
        # mprotect_fixup: memory that was never written to is promised no longer.
        unfaulted = memory.is_anonymous and not memory.has_anon(page)
        if prot is HostProt.RW or (memory.knobs.mprotect_unaccounts and unfaulted):
            memory.set_accounted(page, prot is HostProt.RW)

    ranges = retag(memory, changed, tag)
    rows = memory.rows(changed, prot)
    for page in changed:
        memory.set_writable(page, prot is HostProt.RW and _regains_write(memory, page))
    for start, length in rows:
        memory.rewrite(start, length)
    return ranges + runs_of(changed)


def _regains_write(memory: HostMemory, page: int) -> bool:
    """can_change_pte_writable, can_change_pmd_writable.

    Shared memory needs no such check, unless userfaultfd waits for first writes to it: then
    vma_wants_manual_pte_write_upgrade asks with a protection that is read-only already, which is
    not what the VMA's flags give, and the answer is no.
    """
    state = memory.state(page)
    if memory.is_write_protected(page):
        return False
    if state is HostPage.FILE:
        return not memory.uffd(page) & Uffd.WP
    if state is HostPage.DEVICE:
        # A device's page is dirty since the runtime zeroed it (can_change_pte_writable).
        return True
    if state is not HostPage.ANON or memory.is_hugetlb:
        return False
    if memory.mapped_pages(page) > 1:
        return memory.knobs.mprotect_huge_writable and memory.is_exclusive(page)
    if memory.knobs.mprotect_needs_dirty and memory.is_entry_clean(page):
        return False
    return memory.knobs.mprotect_writable and memory.is_exclusive(page)


def unmap(memory: HostMemory, first: int, count: int) -> Ranges:
    """munmap: no VMA is left."""
    last = memory.vma(first + count - 1)[0]
    if last <= first:
        ranges = split_vma(memory, first, count)
    else:
        ranges = split_vma(memory, first, memory.vma(first)[1] - first)
        ranges += split_vma(memory, last, first + count - last)
    ranges += zap(memory, first, count)
    for page in range(first, first + count):
        memory.set_prot(page, HostProt.GONE)
        memory.set_accounted(page, True)
        memory.forget(page)
        memory.set_uffd_wp(page, on=False)
        memory.set_uffd(page, Uffd(0))
        memory.drop_anon(page)
    return ranges


def remap(memory: HostMemory, first: int, count: int) -> Ranges:
    """mmap(MAP_FIXED) of fresh anonymous pages over the range, small ones (host_remap())."""
    ranges = unmap(memory, first, count)
    for page in range(first, first + count):
        memory.set_prot(page, HostProt.RW)
        memory.set_advice(page, Advice.SMALL)
    memory.merge_around(first, first + count)
    return ranges


def fork(memory: HostMemory, touched: range) -> Ranges:
    """copy_page_range of a VMA with an anon_vma: everything becomes read-only, then the only one.

    ``touched``: pages that the child writes. It is gone afterwards; what it brought back from
    swap stays in the swap cache.
    """
    if memory.is_file:
        # The page cache is one for both: what the child stores to is there from then on.
        for page in touched:
            memory.soil(page)
        return []
    first, count = memory.extent()
    ranges: Ranges = []
    at = first
    while at < first + count:
        stop = memory.vma(at)[1]
        if memory.has_anon(at):
            for page in range(at, stop):
                memory.set_writable(page, False)
                if memory.state(page) is HostPage.ANON:
                    memory.set_forked(page)
            ranges.append((at, stop - at))
        at = stop
    if ranges:
        for page in touched:
            memory.set_doubled(page)
        memory.share_swap(touched)
    return ranges


def _unmap_whole(memory: HostMemory, first: int, count: int) -> Ranges:
    """What reclaim does to whole huge pages before it can write them to swap.

    To one that MADV_FREE took and that was stored to since: try_to_unmap_one splits the huge entry,
    takes the first of the small ones, and writes it again as the page is dirty; it comes to the
    page for good when it is asked once more. Where entries are not joined nothing shows of it.

    Swap has no room for one as a whole without CONFIG_THP_SWAP, which arm64 has for pages of 4K:
    shrink_folio_list splits it. Before :attr:`split_frees_zeroes` nothing shows of that either.
    """
    out: Ranges = []
    swaps_whole = memory.pmd_pages == _PMD_PAGES_4K or not memory.knobs.split_frees_zeroes
    for page in range(first, first + count):
        parts = memory.parts(page)
        if parts[:1] != [page] or len(parts) < memory.huge_pages or parts[-1] >= first + count:
            continue
        if memory.is_stored(page) and memory.knobs.joins_entries:
            memory.split_block(page)
            if not memory.knobs.writes_rows:
                memory.rewrite(page, 1)
        if not swaps_whole and not memory.is_lazy(page):
            memory.break_up(page)
            out.append((page, memory.huge_pages))
    return out


def page_out(memory: HostMemory, first: int, count: int) -> Ranges:
    """MADV_PAGEOUT that succeeded for every page that can go.

    try_to_unmap_one drops what MADV_FREE took and nobody has stored to since, and
    __remove_mapping what was read of a file's holes.
    """
    if any(memory.is_half_lazy(page) for page in range(first, first + count)):
        raise UndefinedError(
            "which parts of a huge page go after MADV_FREE and a store to one of them is the "
            "order of its entries; advise and store page by page"
        )
    ranges = _unmap_whole(memory, first, count)
    ranges += _break_up(memory, first, count)
    for page in range(first, first + count):
        state = memory.state(page)
        if state not in (HostPage.ANON, HostPage.FILE):
            continue
        block, pages = memory.block_around(page)
        if pages > 1 and memory.is_lazy(page) and memory.knobs.drops_blocks:
            # unmap_huge_pmd_locked: no table of pages is left.
            ranges.append((block, pages))
            memory.drop(block, pages)
            continue
        if pages > 1:
            # As try_to_unmap_one does it; what MADV_FREE took by split_huge_page_to_list.
            memory.split_block(page, frozen=memory.is_lazy(page))
        ranges.append((page, 1))
        dropped = memory.is_lazy(page) or memory.is_clean(page)
        exclusive = memory.is_exclusive(page)
        protected = memory.has_uffd_wp(page)
        memory.clear(page)
        if dropped:
            memory.forget(page)
        else:
            memory.set_swapped(page, exclusive=exclusive)
            if state is HostPage.ANON:
                memory.set_uffd_wp(page, protected)
    return ranges


def collapse(memory: HostMemory, first: int, count: int) -> Ranges | None:
    """MADV_COLLAPSE of whole blocks of writable pages; None where the outcome is not known."""
    pmd = memory.pmd_pages
    start = -(-(memory.hva + first) // pmd) * pmd - memory.hva
    ranges: Ranges = []
    for block in range(start, first + count - pmd + 1, pmd):
        if memory.mapped_pages(block) == pmd:
            continue
        if not memory.make_huge(block):
            return None
        ranges.append((block, pmd))
    return ranges


def uffd_protect(memory: HostMemory, first: int, count: int, *, on: bool) -> Ranges:
    """UFFDIO_WRITEPROTECT: change_protection, which marks entries in swap too.

    Of a file's pages those that are not mapped get a marker (PTE_MARKER_UFFD_WP). What mprotect
    made read-only stays that (vma_wants_manual_pte_write_upgrade asks for VM_WRITE).
    """
    for page in range(first, first + count):
        state = memory.state(page)
        if state is HostPage.NONE and not memory.is_file:
            continue
        memory.set_uffd_wp(page, on)
        if state not in (HostPage.NONE, HostPage.SWAP):
            writable = memory.prot(page) is HostProt.RW and _regains_write(memory, page)
            memory.set_writable(page, not on and writable)
    return [(first, count)]


def runs_of(pages: Iterable[int]) -> Ranges:
    """Ascending pages as (first, count)."""
    out: Ranges = []
    for page in pages:
        if out and page == sum(out[-1]):
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((page, 1))
    return out
