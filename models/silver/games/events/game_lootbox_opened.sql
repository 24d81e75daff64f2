{#- One row per lootbox_opened event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('lootbox_opened', [
        {'name': 'box_id', 'type': 'string', 'required_from': 1},
        {'name': 'cost', 'type': 'integer'},
        {'name': 'rarity', 'type': 'string', 'required_from': 1,
         'values': ['common', 'rare', 'epic', 'legendary']},
        {'name': 'item_id', 'type': 'string', 'required_from': 1},
    ])
}}
