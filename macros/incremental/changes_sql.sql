{#- What a batch that is the whole truth of some units changes in them: the rows that are new or
    differ, and the keys of those that are no longer there, with null in every other column. A row
    of the batch without `_batch_id` only names a unit, of which nothing may be left. -#}
{%- macro changes_sql(target, batch, columns, extent) -%}
    {%- set unit = units_rewritten() -%}
    {%- set unique_key = config.require('unique_key') -%}
    {%- set unique_key = [unique_key] if unique_key is string else unique_key -%}
    with

    units as (

        select distinct {{ unit | join(', ') }} from {{ batch }}

    ),

    rows_of_both as (

        select {{ columns | join(', ') }}, true as is_of_batch from {{ batch }}
        where _batch_id is not null

        union all

        select {% for column in columns %}target.{{ column }}, {% endfor %}false as is_of_batch
        from {{ target }} as target
        left semi join units
            on {% for column in unit %}{{ ' and ' if not loop.first }}target.{{ column }} = units.{{ column }}{% endfor %}
        where {% for column, range in extent.ranges.items() %}{{ ' and ' if not loop.first }}target.{{ column }} between {{ range[0] }} and {{ range[1] }}{% endfor %}

    ),

    rows_judged as (

        select
            *,
            bool_or(is_of_batch) over (partition by {{ unique_key | join(', ') }}) as is_there
        from rows_of_both

    ),

    -- a row of the batch and one of the table that are the same make a pair
    rows_alone as (

        select {{ columns | join(', ') }}, is_there, bool_or(is_of_batch) as is_of_batch
        from rows_judged
        group by {{ columns | join(', ') }}, is_there
        having count(*) = 1

    )

    select
        {{ unique_key | join(', ') }}
        {%- for column in columns if column not in unique_key -%}
        , case when is_of_batch then {{ column }} end as {{ column }}
        {%- endfor %}
    from rows_alone
    where is_of_batch or not is_there
{%- endmacro -%}
