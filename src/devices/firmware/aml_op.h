/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AML opcodes (ACPI specification, "AML Encoding Definition"). */
#pragma once
#define AML_ZERO        0x00
#define AML_ONE         0x01
#define AML_NAME        0x08
#define AML_BYTE        0x0a
#define AML_WORD        0x0b
#define AML_DWORD       0x0c
#define AML_STRING      0x0d
#define AML_QWORD       0x0e
#define AML_SCOPE       0x10
#define AML_BUFFER      0x11
#define AML_PACKAGE     0x12
#define AML_METHOD      0x14
#define AML_DUAL_NAME   0x2e
#define AML_MULTI_NAME  0x2f
#define AML_EXT         0x5b
#define AML_EXT_REGION  0x80
#define AML_EXT_FIELD   0x81
#define AML_EXT_DEVICE  0x82
#define AML_EXT_PROCESSOR 0x83
#define AML_ARG0        0x68
#define AML_STORE       0x70
#define AML_AND         0x7b
#define AML_OR          0x7d
#define AML_DWORD_FIELD 0x8a
#define AML_IF          0xa0
#define AML_RETURN      0xa4
