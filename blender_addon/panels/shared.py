# SPDX-License-Identifier: GPL-3.0-or-later
"""What all panels have in common: where they are, and how a card is drawn."""

from ..snapshot import Button, Card

LINE_SCALE = 0.75  # wrapped lines of one sentence stand closer than rows of buttons


class SidebarPanel:
    """Mixin: a panel of the tab Dreamlift in the sidebar of 3D viewports."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Dreamlift"


def draw_card(layout, card: Card) -> None:
    """A box: title, sentence, buttons one below the other (two short ones side by side)."""
    box = layout.box()
    title = box.row()
    title.alert = card.alert
    title.label(text=card.title, icon=card.icon)
    if card.lines:
        column = box.column(align=True)
        column.scale_y = LINE_SCALE
        for line in card.lines:
            column.label(text=line)
    short = len(card.buttons) == 2 and all(len(button.text) <= 13 for button in card.buttons)
    buttons = box.row(align=True) if short else box.column(align=True)
    for button in card.buttons:
        draw_button(buttons, button)


def draw_notes(layout, notes: tuple[str, ...]) -> None:
    """A warning that stops nothing."""
    column = layout.column(align=True)
    column.scale_y = LINE_SCALE
    for number, line in enumerate(notes):
        column.label(text=line, icon="BLANK1" if number else "INFO")


def draw_button(layout, button: Button) -> None:
    """One operator with its values."""
    operator = layout.operator(button.operator, text=button.text, icon=button.icon)
    for name, value in button.values.items():
        setattr(operator, name, value)
