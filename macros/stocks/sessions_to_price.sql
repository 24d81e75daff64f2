{#- The sessions a model has to price: new and corrected ones, and those whose quarters changed.
    The days of one ticker in `quarters` do not overlap, so no session comes twice. -#}
{%- macro sessions_to_price(prices, quarters, quarters_batch_id) -%}
    {%- set is_new_session = is_new(prices ~ '._batch_id', cursor='_prices_batch_id') -%}
    {%- set has_new_quarters = is_new(
        quarters ~ '.' ~ quarters_batch_id, cursor='_fundamentals_batch_id'
    ) -%}
    select {{ prices }}.*
    from {{ prices }}
    where {{ is_new_session }}

    union all

    select {{ prices }}.*
    from {{ prices }}
    inner join {{ quarters }}
        on
            {{ prices }}.ticker = {{ quarters }}.ticker
            and {{ prices }}.price_date >= {{ quarters }}.known_from
            and {{ prices }}.price_date < {{ quarters }}.known_to
    where
        not ({{ is_new_session }})
        and {{ has_new_quarters }}
{%- endmacro -%}
