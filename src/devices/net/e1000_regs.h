/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Registers, bits and descriptors as the PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual (8254x) spells them. */
#pragma once

/* ---- General ---- */
#define CTRL      0x0000
#define  CTRL_FD       (1u << 0)
#define  CTRL_SLU      (1u << 6)
#define  CTRL_RST      (1u << 26)
#define  CTRL_VME      (1u << 30)
#define  CTRL_PHY_RST  (1u << 31)
#define STATUS    0x0008
#define  STATUS_FD     (1u << 0)
#define  STATUS_LU     (1u << 1)
#define  STATUS_1000   (2u << 6)
#define  STATUS_ASDV   (2u << 8)
#define EECD      0x0010
#define  EECD_SK       (1u << 0)
#define  EECD_CS       (1u << 1)
#define  EECD_DI       (1u << 2)
#define  EECD_DO       (1u << 3)
#define  EECD_REQ      (1u << 6)
#define  EECD_GNT      (1u << 7)
#define  EECD_PRES     (1u << 8)
#define EERD      0x0014
#define  EERD_START    (1u << 0)
#define  EERD_DONE     (1u << 4)
#define CTRL_EXT  0x0018
#define  CTRL_EXT_EE_RST (1u << 13)
#define MDIC      0x0020
#define  MDIC_OP_WRITE (1u << 26)
#define  MDIC_OP_READ  (2u << 26)
#define  MDIC_R        (1u << 28)
#define  MDIC_I        (1u << 29)
#define  MDIC_E        (1u << 30)
#define FCAL      0x0028
#define FCAH      0x002c
#define FCT       0x0030
#define VET       0x0038

/* ---- Interrupts ---- */
#define ICR       0x00c0
#define ITR       0x00c4
#define ICS       0x00c8
#define IMS       0x00d0
#define IMC       0x00d8
#define  INT_TXDW      (1u << 0)
#define  INT_TXQE      (1u << 1)
#define  INT_LSC       (1u << 2)
#define  INT_RXDMT0    (1u << 4)
#define  INT_RXO       (1u << 6)
#define  INT_RXT0      (1u << 7)
#define  INT_MDAC      (1u << 9)
#define  INT_TXD_LOW   (1u << 15)
#define  INT_ALL       0x0001ffffu

/* ---- Receive ---- */
#define RCTL      0x0100
#define  RCTL_EN       (1u << 1)
#define  RCTL_UPE      (1u << 3)
#define  RCTL_MPE      (1u << 4)
#define  RCTL_LPE      (1u << 5)
#define  RCTL_LBM_SHIFT 6
#define  RCTL_RDMTS_SHIFT 8
#define  RCTL_MO_SHIFT 12
#define  RCTL_BAM      (1u << 15)
#define  RCTL_BSIZE_SHIFT 16
#define  RCTL_VFE      (1u << 18)
#define  RCTL_CFIEN    (1u << 19)
#define  RCTL_CFI      (1u << 20)
#define  RCTL_BSEX     (1u << 25)
#define  RCTL_SECRC    (1u << 26)
#define FCTTV     0x0170
#define TXCW      0x0178
#define RXCW      0x0180
#define FCRTL     0x2160
#define FCRTH     0x2168
#define RDBAL     0x2800
#define RDBAH     0x2804
#define RDLEN     0x2808
#define RDH       0x2810
#define RDT       0x2818
#define RDTR      0x2820
#define  RDTR_FPD      (1u << 31)
#define RXDCTL    0x2828
#define RADV      0x282c
#define RSRPD     0x2c00
#define RXCSUM    0x5000
#define  RXCSUM_IPOFLD (1u << 8)
#define  RXCSUM_TUOFLD (1u << 9)

/* ---- Transmit ---- */
#define TCTL      0x0400
#define  TCTL_EN       (1u << 1)
#define  TCTL_PSP      (1u << 3)
#define TIPG      0x0410
#define AIT       0x0458
#define TXDMAC    0x3000
#define TDFH      0x3410
#define TDFPC     0x3430
#define TDBAL     0x3800
#define TDBAH     0x3804
#define TDLEN     0x3808
#define TDH       0x3810
#define TDT       0x3818
#define TIDV      0x3820
#define TXDCTL    0x3828
#define TADV      0x382c
#define TSPMT     0x3830

/* ---- The rest ---- */
#define LEDCTL    0x0e00
#define PBA       0x1000
#define MTA       0x5200
#define MTA_WORDS 128
#define RAL       0x5400
#define RAH       0x5404
#define RA_PAIRS  16
#define  RAH_AV        (1u << 31)
#define VFTA      0x5600
#define VFTA_WORDS 128
#define WUC       0x5800
#define WUFC      0x5808
#define WUS       0x5810
#define MANC      0x5820
#define REGISTERS_END 0x6000

/* ---- Statistics: cleared by reading; a pair of 32-bit registers is cleared by reading the upper one ---- */
#define CRCERRS   0x4000
#define MPC       0x4010
#define PRC64     0x405c
#define GPRC      0x4074
#define BPRC      0x4078
#define MPRC      0x407c
#define GPTC      0x4080
#define GORCL     0x4088
#define GORCH     0x408c
#define GOTCL     0x4090
#define GOTCH     0x4094
#define RNBC      0x40a0
#define RUC       0x40a4
#define ROC       0x40ac
#define TORL      0x40c0
#define TORH      0x40c4
#define TOTL      0x40c8
#define TOTH      0x40cc
#define TPR       0x40d0
#define TPT       0x40d4
#define PTC64     0x40d8
#define MPTC      0x40f0
#define BPTC      0x40f4
#define TSCTC     0x40f8
#define TSCTFC    0x40fc
#define STATISTICS_END 0x4100

/* ---- Descriptors: 16 bytes ---- */
enum { DESCRIPTOR = 16 };
/* Transmit, legacy: le64 address, le16 length, CSO, CMD, STA, CSS, le16 special. */
enum { TXD_LENGTH = 8, TXD_CSO = 10, TXD_CMD = 11, TXD_STA = 12, TXD_CSS = 13, TXD_SPECIAL = 14 };
#define TXD_CMD_EOP   0x01u
#define TXD_CMD_IC    0x04u               /* legacy: insert checksum */
#define TXD_CMD_TSE   0x04u               /* extended: TCP segmentation */
#define TXD_CMD_RS    0x08u
#define TXD_CMD_DEXT  0x20u
#define TXD_CMD_VLE   0x40u
#define TXD_CMD_IDE   0x80u
#define TXD_STA_DD    0x01u
/* Extended: DTYP in the upper half of byte 10; data: 20 bits of length at 8, POPTS at 13. */
enum { TXD_DTYP = 10, TXD_POPTS = 13, DTYP_CONTEXT = 0, DTYP_DATA = 1 };
#define TXD_POPTS_IXSM 0x01u
#define TXD_POPTS_TXSM 0x02u
/* Context: IPCSS, IPCSO, le16 IPCSE, TUCSS, TUCSO, le16 TUCSE, 20 bits PAYLEN, TUCMD, STA, HDRLEN, le16 MSS. */
enum { CTX_IPCSS = 0, CTX_IPCSO = 1, CTX_IPCSE = 2, CTX_TUCSS = 4, CTX_TUCSO = 5, CTX_TUCSE = 6, CTX_PAYLEN = 8, CTX_TUCMD = 11,
       CTX_HDRLEN = 13, CTX_MSS = 14 };
#define TUCMD_TCP     0x01u
#define TUCMD_IP      0x02u
/* Receive: le64 address, le16 length, le16 checksum, status, errors, le16 special. */
enum { RXD_LENGTH = 8, RXD_CHECKSUM = 10, RXD_STATUS = 12, RXD_ERRORS = 13, RXD_SPECIAL = 14 };
#define RXD_DD        0x01u
#define RXD_EOP       0x02u
#define RXD_IXSM      0x04u
#define RXD_VP        0x08u
#define RXD_TCPCS     0x20u
#define RXD_IPCS      0x40u
#define RXD_PIF       0x80u
#define RXD_TCPE      0x20u
#define RXD_IPE       0x40u

/* ---- PHY (IEEE 802.3 clause 22; 88E1011 above 15) ---- */
enum { PHY_CTRL = 0, PHY_STATUS = 1, PHY_ID1 = 2, PHY_ID2 = 3, PHY_ANAR = 4, PHY_LPAR = 5, PHY_ANER = 6, PHY_NPT = 7, PHY_LPNP = 8,
       PHY_1000T_CTRL = 9, PHY_1000T_STATUS = 10, PHY_EXT_STATUS = 15, M88_CTRL = 16, M88_STATUS = 17, M88_INT_ENABLE = 18,
       M88_INT_STATUS = 19, M88_EXT_CTRL = 20, M88_RX_ERRORS = 21, M88_PAGE = 29, M88_GEN_CTRL = 30, PHY_REGISTERS = 32 };
#define PHY_CTRL_RESET    0x8000u
#define PHY_CTRL_LOOPBACK 0x4000u
#define PHY_CTRL_AN       0x1000u
#define PHY_CTRL_DOWN     0x0800u
#define PHY_CTRL_RESTART  0x0200u
#define PHY_STATUS_LINK   0x0004u
#define PHY_STATUS_AN     0x0020u
#define M88_STATUS_LINK   0x0400u
#define M88_STATUS_SOLVED 0x0800u
#define PHY_ADDRESS       1u
