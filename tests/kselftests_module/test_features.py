# SPDX-License-Identifier: GPL-2.0-only
"""What features.sh sees in a kernel's headers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.resources import resource_dir

SCRIPT = resource_dir("kselftests") / "module" / "features.sh"

OLD = """
enum kvm_pgtable_prot {
	KVM_PGTABLE_PROT_X			= BIT(0),
};
int kvm_pgtable_stage2_relax_perms(struct kvm_pgtable *pgt, u64 addr,
				enum kvm_pgtable_prot prot);
kvm_pte_t kvm_pgtable_stage2_mkyoung(struct kvm_pgtable *pgt, u64 addr);
"""
MM_OPS = """
struct kvm_pgtable_mm_ops {
	void*		(*zalloc_page)(void *arg);
};
"""
OWNER = (
    "int kvm_pgtable_stage2_set_owner(struct kvm_pgtable *pgt, u64 addr, u64 size,\n\tvoid *mc);"
)
LEAF_U32 = """
int kvm_pgtable_get_leaf(struct kvm_pgtable *pgt, u64 addr,
			kvm_pte_t *ptep, u32 *level);
"""
NEW = """
	KVM_PGTABLE_PROT_NORMAL_NC		= BIT(5),
	KVM_PGTABLE_PROT_SW0			= BIT(55),
	KVM_PGTABLE_WALK_SHARED			= BIT(3),
	KVM_PGTABLE_WALK_IGNORE_EAGAIN		= BIT(4),
	void		(*free_unlinked_table)(void *addr, s8 level);
void kvm_pgtable_stage2_mkyoung(struct kvm_pgtable *pgt, u64 addr,
				enum kvm_pgtable_walk_flags flags);
int kvm_pgtable_stage2_relax_perms(struct kvm_pgtable *pgt, u64 addr,
				enum kvm_pgtable_prot prot,
				enum kvm_pgtable_walk_flags flags);
int kvm_pgtable_get_leaf(struct kvm_pgtable *pgt, u64 addr,
			kvm_pte_t *ptep, s8 *level);
"""
#: The mmu's own vtcr, and one that is another structure's.
MMU_NEW = """
struct kvm_s2_mmu {
	struct kvm_vmid vmid;
	u64	vtcr;
	struct kvm_arch *arch;
};
struct kvm_arch {
	int x;
};
"""
MMU_OLD = """
struct kvm_s2_mmu {
	struct kvm *kvm;
};
struct kvm_arch {
	u64    vtcr;
	struct kvm_arch *arch;
};
"""


def features(folder: Path, pgtable: str, host: str, asm: str = "") -> set[str]:
    include = folder / "arch" / "arm64" / "include" / "asm"
    include.mkdir(parents=True)
    (include / "kvm_pgtable.h").write_text(pgtable)
    (include / "kvm_host.h").write_text(host)
    (include / "kvm_asm.h").write_text(asm)
    done = subprocess.run(
        ["sh", str(SCRIPT), str(folder)], capture_output=True, text=True, check=True, timeout=20
    )
    words = done.stdout.split()
    assert all(word.startswith("-DHX_") for word in words)
    return {word.removeprefix("-DHX_") for word in words}


def test_a_kernel_without_any(tmp_path: Path) -> None:
    assert features(tmp_path, OLD, MMU_OLD) == set()


def test_callbacks_and_owners(tmp_path: Path) -> None:
    found = features(tmp_path, OLD + MM_OPS + OWNER + LEAF_U32, MMU_NEW)
    assert found == {"HAS_MM_OPS", "HAS_SET_OWNER", "HAS_GET_LEAF", "MMU_HAS_VTCR", "MMU_HAS_ARCH"}


def test_signatures_that_grew(tmp_path: Path) -> None:
    assert features(tmp_path, NEW, MMU_OLD) == {
        *("HAS_NC", "HAS_SW", "HAS_WALK_SHARED", "HAS_IGNORE_EAGAIN", "HAS_FREE_UNLINKED"),
        *("MKYOUNG_HAS_FLAGS", "RELAX_HAS_FLAGS", "HAS_GET_LEAF", "LEAF_LEVEL_IS_S8"),
    }


def test_hypercalls_that_there_are(tmp_path: Path) -> None:
    asm = "\t__KVM_HOST_SMCCC_FUNC___kvm_tlb_flush_vmid_ipa_nsh,\n"
    assert features(tmp_path, OLD, MMU_OLD, asm) == {"HAS_TLBI_NSH"}


def test_headers_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            ["sh", str(SCRIPT), str(tmp_path)], capture_output=True, check=True, timeout=20
        )
