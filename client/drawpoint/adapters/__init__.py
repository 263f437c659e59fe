"""Adapters to other programs: noether, PhysicsNeMo, ParaView."""
